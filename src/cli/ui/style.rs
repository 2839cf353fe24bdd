//! Whether escapes may be written, and the colours.

use std::io::IsTerminal;

/// When ANSI escapes are written (`--ansi`, `COMPOSE_ANSI`). An unknown word means never (Compose CLI reference, §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ansi {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Ansi {
    /// From the flag's or the variable's text.
    pub fn from_word(word: &str) -> Ansi {
        match word {
            "auto" => Ansi::Auto,
            "always" => Ansi::Always,
            _ => Ansi::Never,
        }
    }

    /// Whether escapes go to this stream.
    pub fn on(self, stream: &impl IsTerminal) -> bool {
        match self {
            Ansi::Always => true,
            Ansi::Never => false,
            Ansi::Auto => stream.is_terminal(),
        }
    }
}

/// The colours of log prefixes, in the order in which Docker Compose takes them.
pub const PREFIXES: [&str; 10] = ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"];

/// Done.
pub const GREEN: &str = "32";
/// Working.
pub const BLUE: &str = "34";
/// Doubtful.
pub const YELLOW: &str = "33;1";
/// Failed.
pub const RED: &str = "31";

/// A text with its control characters to be seen instead of obeyed (`␛` for an escape); ends of lines and tabs stay.
pub fn visible(text: &str) -> String {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\0'..'\x20' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(c),
        '\x7f' => '␡',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(picture).collect()
}

/// The text in a colour.
pub fn coloured(text: &str, colour: &str) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}
