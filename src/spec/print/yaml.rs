//! YAML as Go's `yaml` writes it: block style, two spaces, lists indented under their key, lines never folded.

use super::{Out, go_number};
use crate::spec::tree;

/// The whole text, with a line end at its end.
pub(super) fn write(out: &Out<'_>) -> String {
    let mut text = String::new();
    match out {
        Out::Map(entries) if !entries.is_empty() => write_map(entries, 0, &mut text),
        Out::List(list) if !list.is_empty() => write_list(list, 0, &mut text),
        scalar => {
            write_scalar(scalar, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

/// The first key goes where the text ends, the others on lines of their own.
fn write_map(entries: &[(&str, Out<'_>)], indent: usize, text: &mut String) {
    for (n, (key, value)) in entries.iter().enumerate() {
        if n > 0 {
            spaces(indent, text);
        }
        write_key(key, text);
        text.push(':');
        match value {
            Out::Map(below) if !below.is_empty() => {
                text.push('\n');
                spaces(indent + 2, text);
                write_map(below, indent + 2, text);
            }
            Out::List(below) if !below.is_empty() => {
                text.push('\n');
                spaces(indent + 2, text);
                write_list(below, indent + 2, text);
            }
            scalar => {
                text.push(' ');
                write_scalar(scalar, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn write_list(list: &[Out<'_>], indent: usize, text: &mut String) {
    for (n, item) in list.iter().enumerate() {
        if n > 0 {
            spaces(indent, text);
        }
        text.push_str("- ");
        match item {
            Out::Map(below) if !below.is_empty() => write_map(below, indent + 2, text),
            Out::List(below) if !below.is_empty() => write_list(below, indent + 2, text),
            scalar => {
                write_scalar(scalar, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

fn spaces(count: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', count));
}

/// `indent` is where the lines of a block begin.
fn write_scalar(out: &Out<'_>, indent: usize, text: &mut String) {
    match out {
        Out::Null => text.push_str("null"),
        Out::Bool(yes) => text.push_str(if *yes { "true" } else { "false" }),
        Out::Int(number) => text.push_str(&number.to_string()),
        Out::Single(number) => write_number(f64::from(*number), &format!("{number:e}"), text),
        Out::Double(number) => write_number(*number, &format!("{number:e}"), text),
        Out::List(_) => text.push_str("[]"),
        Out::Map(_) => text.push_str("{}"),
        Out::Text(value) => {
            let analysis = Analysis::of(value);
            if value.contains('\n') && analysis.block {
                write_block(value, indent, text);
            } else {
                write_flow(value, &analysis, text);
            }
        }
    }
}

fn write_key(key: &str, text: &mut String) {
    let analysis = Analysis::of(key);
    write_flow(key, &analysis, text);
}

fn write_number(number: f64, scientific: &str, text: &mut String) {
    if number.is_nan() {
        text.push_str(".nan");
    } else if number.is_infinite() {
        text.push_str(if number > 0.0 { ".inf" } else { "-.inf" });
    } else {
        text.push_str(&go_number(scientific, -4, 6).0);
    }
}

/// What may be done with a text.
struct Analysis {
    /// Without quotes, as far as its letters go.
    plain: bool,
    /// In single quotes.
    single: bool,
    /// As a literal block.
    block: bool,
}

impl Analysis {
    /// The rules of libyaml's `yaml_emitter_analyze_scalar`, for block context.
    fn of(value: &str) -> Analysis {
        let blank = |letter: Option<char>| letter.is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let (mut indicators, mut special, mut tab, mut breaks) = (false, false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let mut before: Option<char> = None;
        let mut letters = value.chars().peekable();
        while let Some(letter) = letters.next() {
            let next = letters.peek().copied();
            indicators |= match letter {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                    if before.is_none() =>
                {
                    true
                }
                '?' | '-' if before.is_none() => blank(next),
                ':' => blank(next),
                '#' => blank(before),
                _ => false,
            };
            match letter {
                '\t' => tab = true,
                '\n' => {
                    breaks = true;
                    space_break |= before == Some(' ');
                }
                ' ' => break_space |= before == Some('\n'),
                letter => special |= !is_printable(letter),
            }
            before = Some(letter);
        }
        let edge = |letter: Option<char>| matches!(letter, Some(' ' | '\n'));
        let edges = edge(value.chars().next()) || edge(before);
        let markers = value.starts_with("---") || value.starts_with("...");
        let unquotable = break_space || space_break || tab || special;
        Analysis {
            plain: !value.is_empty() && !indicators && !markers && !edges && !unquotable && !breaks,
            single: !unquotable,
            block: !value.is_empty() && before != Some(' ') && !space_break && !special,
        }
    }
}

/// What Go lets stand: what a reader can see, of the letters of 16 bits.
fn is_printable(letter: char) -> bool {
    matches!(letter, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && letter != '\u{feff}'
}

/// Plain where it reads back as the same text; in double quotes where it would read as something else.
fn write_flow(value: &str, analysis: &Analysis, text: &mut String) {
    let own = tree::is_text(value) && !is_old_boolean(value) && !is_base_60(value) && !is_date(value);
    let own = own && value != "<<" && !value.contains('\n');
    if own && analysis.plain {
        text.push_str(value);
    } else if own && analysis.single {
        text.push('\'');
        text.push_str(&value.replace('\'', "''"));
        text.push('\'');
    } else {
        write_quoted(value, text);
    }
}

/// YAML 1.1 has these for booleans.
fn is_old_boolean(value: &str) -> bool {
    matches!(
        value,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF"
    )
}

/// YAML 1.1 has `1:30` for ninety: `^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`.
fn is_base_60(value: &str) -> bool {
    let rest = value.strip_prefix(['-', '+']).unwrap_or(value);
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut parts = whole.split(':');
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit() || c == b'_');
    let first = parts.next().unwrap_or("");
    let minutes: Vec<&str> = parts.collect();
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && digits(fraction)
        && !minutes.is_empty()
        && minutes.iter().all(|part| match part.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
            _ => false,
        })
}

/// YAML 1.1 has `2001-12-14` and `2001-12-14 21:59:43` for times.
fn is_date(value: &str) -> bool {
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    let (date, time) = value.split_once([' ', 't', 'T']).unwrap_or((value, ""));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let is_date = year.len() == 4 && digits(year, 4) && digits(month, 2) && digits(day, 2) && parts.next().is_none();
    is_date
        && (time.is_empty() && value.len() == date.len() || time.trim_start().starts_with(|c: char| c.is_ascii_digit()))
}

fn write_quoted(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\0' => text.push_str("\\0"),
            '\u{7}' => text.push_str("\\a"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{b}' => text.push_str("\\v"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\u{1b}' => text.push_str("\\e"),
            '\u{85}' => text.push_str("\\N"),
            '\u{2028}' => text.push_str("\\L"),
            '\u{2029}' => text.push_str("\\P"),
            letter if is_printable(letter) => text.push(letter),
            letter => match u32::from(letter) {
                code @ ..=0xff => text.push_str(&format!("\\x{code:02X}")),
                code @ ..=0xffff => text.push_str(&format!("\\u{code:04X}")),
                code => text.push_str(&format!("\\U{code:08X}")),
            },
        }
    }
    text.push('"');
}

/// `|`, with a digit where the text begins with a space or line end, and `-` or `+` for how it ends.
fn write_block(value: &str, indent: usize, text: &mut String) {
    text.push('|');
    if value.starts_with([' ', '\n']) {
        text.push('2');
    }
    match value.strip_suffix('\n') {
        None => text.push('-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => text.push('+'),
        Some(_) => {}
    }
    let body = value.strip_suffix('\n').unwrap_or(value);
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            spaces(indent, text);
            text.push_str(line);
        }
    }
}
