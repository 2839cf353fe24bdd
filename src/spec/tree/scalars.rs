//! The three ways of writing a text: block, quoted, plain. Line folding is the same for the last two.

use super::scanner::{Kind, Mark, Scan, Scanner, Token};

/// White space and line ends met since the last character that counts.
#[derive(Default)]
struct Gap {
    blanks: String,
    first_break: String,
    more_breaks: String,
    /// Whether a line has ended, so that blanks are indentation.
    broken: bool,
}

impl Gap {
    /// What the gap amounts to: a line's end folds to a space, further ones stay.
    fn close(&mut self, text: &mut String) {
        if !self.broken {
            text.push_str(&self.blanks);
        } else if self.first_break.starts_with('\n') && self.more_breaks.is_empty() {
            text.push(' ');
        } else {
            if !self.first_break.starts_with('\n') {
                text.push_str(&self.first_break);
            }
            text.push_str(&self.more_breaks);
        }
        *self = Self::default();
    }

    fn is_open(&self) -> bool {
        self.broken || !self.blanks.is_empty()
    }

    fn line(&mut self, scanner: &mut Scanner<'_>) {
        if self.broken {
            scanner.read_line(&mut self.more_breaks);
        } else {
            self.blanks.clear();
            scanner.read_line(&mut self.first_break);
            self.broken = true;
        }
    }

    fn blank(&mut self, scanner: &mut Scanner<'_>) {
        if self.broken {
            scanner.skip();
        } else {
            scanner.read(&mut self.blanks);
        }
    }
}

impl Scanner<'_> {
    /// `|` or `>`, chomping and indentation indicators, and the indented lines.
    pub(super) fn block_scalar(&mut self, literal: bool) -> Scan<Token> {
        const DURING: &str = "while scanning a block scalar";
        let start = self.mark;
        self.skip();
        let mut chomp = None;
        let mut further = 0;
        for _ in 0..2 {
            match self.byte(0) {
                c @ (b'+' | b'-') if chomp.is_none() => chomp = Some(c),
                b'0' if further == 0 => {
                    return self.fault_in(DURING, start, "found an indentation indicator equal to 0");
                }
                c @ b'1'..=b'9' if further == 0 => further = isize::from(c - b'0'),
                _ => break,
            }
            self.skip();
        }
        self.blanks();
        if self.byte(0) == b'#' {
            while !self.is_break_or_end(0) {
                self.skip();
            }
        }
        if !self.is_break_or_end(0) {
            return self.fault_in(DURING, start, "did not find expected comment or line break");
        }
        if self.is_break(0) {
            self.skip_line();
        }
        let mut end = self.mark;
        let mut indent = if further > 0 { self.indent.max(0) + further } else { 0 };
        let (mut text, mut line_end, mut breaks) = (String::new(), String::new(), String::new());
        self.block_breaks(&mut indent, &mut breaks, start, &mut end)?;
        let mut leading_blank = false;
        while self.column() == indent && !self.at_end() {
            let folds = !literal && line_end.starts_with('\n') && !leading_blank && !self.is_blank(0);
            match (folds, breaks.is_empty()) {
                (true, true) => text.push(' '),
                (true, false) => {}
                (false, _) => text.push_str(&line_end),
            }
            line_end.clear();
            text.push_str(&breaks);
            breaks.clear();
            leading_blank = self.is_blank(0);
            while !self.is_break_or_end(0) {
                self.read(&mut text);
            }
            end = self.mark;
            if self.is_break(0) {
                self.read_line(&mut line_end);
            }
            self.block_breaks(&mut indent, &mut breaks, start, &mut end)?;
        }
        if chomp != Some(b'-') {
            text.push_str(&line_end);
        }
        if chomp == Some(b'+') {
            text.push_str(&breaks);
        }
        Ok(Token { kind: Kind::Scalar { text, plain: false }, start, end })
    }

    /// Indentation and empty lines; an `indent` of 0 is not known yet, and is that of the first line.
    fn block_breaks(&mut self, indent: &mut isize, breaks: &mut String, start: Mark, end: &mut Mark) -> Scan<()> {
        let mut widest = 0;
        loop {
            while (*indent == 0 || self.column() < *indent) && self.byte(0) == b' ' {
                self.skip();
            }
            widest = widest.max(self.column());
            if (*indent == 0 || self.column() < *indent) && self.byte(0) == b'\t' {
                let problem = "found a tab character where an indentation space is expected";
                return self.fault_in("while scanning a block scalar", start, problem);
            }
            if self.at_end() || !self.is_break(0) {
                break;
            }
            self.read_line(breaks);
            *end = self.mark;
        }
        if *indent == 0 {
            *indent = widest.max(self.indent + 1).max(1);
        }
        Ok(())
    }

    /// `'…'` or `"…"`.
    pub(super) fn quoted(&mut self, single: bool) -> Scan<Token> {
        const DURING: &str = "while scanning a quoted scalar";
        let quote = if single { b'\'' } else { b'"' };
        let start = self.mark;
        self.skip();
        let mut text = String::new();
        let mut gap = Gap::default();
        loop {
            if self.document_indicator() {
                return self.fault_in(DURING, start, "found unexpected document indicator");
            }
            if self.at_end() {
                return self.fault_in(DURING, start, "found unexpected end of stream");
            }
            while !self.is_blank_or_end(0) {
                match self.byte(0) {
                    b'\'' if single && self.byte(1) == b'\'' => {
                        text.push('\'');
                        self.skip();
                        self.skip();
                    }
                    c if c == quote => break,
                    b'\\' if !single && self.is_break_or_end(1) => {
                        self.skip();
                        if self.is_break(0) {
                            self.skip_line();
                        }
                        gap.broken = true;
                        break;
                    }
                    b'\\' if !single => self.escape(&mut text, start)?,
                    _ => self.read(&mut text),
                }
            }
            if self.byte(0) == quote {
                break;
            }
            while !self.at_end() && (self.is_blank(0) || self.is_break(0)) {
                if self.is_blank(0) { gap.blank(self) } else { gap.line(self) }
            }
            gap.close(&mut text);
        }
        self.skip();
        Ok(Token { kind: Kind::Scalar { text, plain: false }, start, end: self.mark })
    }

    fn escape(&mut self, text: &mut String, start: Mark) -> Scan<()> {
        const DURING: &str = "while parsing a quoted scalar";
        let (c, digits) = match self.byte(1) {
            b'0' => ('\0', 0),
            b'a' => ('\u{7}', 0),
            b'b' => ('\u{8}', 0),
            b't' | b'\t' => ('\t', 0),
            b'n' => ('\n', 0),
            b'v' => ('\u{b}', 0),
            b'f' => ('\u{c}', 0),
            b'r' => ('\r', 0),
            b'e' => ('\u{1b}', 0),
            c @ (b' ' | b'"' | b'\'' | b'\\') => (char::from(c), 0),
            b'N' => ('\u{85}', 0),
            b'_' => ('\u{a0}', 0),
            b'L' => ('\u{2028}', 0),
            b'P' => ('\u{2029}', 0),
            b'x' => ('\0', 2),
            b'u' => ('\0', 4),
            b'U' => ('\0', 8),
            _ => return self.fault_in(DURING, start, "found unknown escape character"),
        };
        self.skip();
        self.skip();
        if digits == 0 {
            text.push(c);
            return Ok(());
        }
        let code = self.text.get(self.mark.at..self.mark.at + digits).unwrap_or_default();
        if code.len() != digits || !code.bytes().all(|c| c.is_ascii_hexdigit()) {
            return self.fault_in(DURING, start, "did not find expected hexdecimal number");
        }
        let Some(c) = u32::from_str_radix(code, 16).ok().and_then(char::from_u32) else {
            return self.fault_in(DURING, start, "found invalid Unicode character escape code");
        };
        text.push(c);
        for _ in 0..digits {
            self.skip();
        }
        Ok(())
    }

    /// A text without quotes.
    pub(super) fn plain(&mut self) -> Scan<Token> {
        let start = self.mark;
        let mut end = start;
        let mut text = String::new();
        let mut gap = Gap::default();
        let indent = self.indent + 1;
        while !self.document_indicator() && self.byte(0) != b'#' {
            while !self.is_blank_or_end(0) {
                let c = self.byte(0);
                if c == b':' && self.is_blank_or_end(1) {
                    break;
                }
                if self.flow > 0 && b",?[]{}".contains(&c) {
                    break;
                }
                if gap.is_open() {
                    gap.close(&mut text);
                }
                self.read(&mut text);
                end = self.mark;
            }
            if self.at_end() || !(self.is_blank(0) || self.is_break(0)) {
                break;
            }
            while !self.at_end() && (self.is_blank(0) || self.is_break(0)) {
                if self.is_break(0) {
                    gap.line(self);
                    continue;
                }
                if gap.broken && self.column() < indent && self.byte(0) == b'\t' {
                    let problem = "found a tab character that violates indentation";
                    return self.fault_in("while scanning a plain scalar", start, problem);
                }
                gap.blank(self);
            }
            if self.flow == 0 && self.column() < indent {
                break;
            }
        }
        if gap.broken {
            self.key_allowed = true;
        }
        Ok(Token { kind: Kind::Scalar { text, plain: true }, start, end })
    }
}
