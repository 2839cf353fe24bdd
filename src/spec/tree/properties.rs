//! What stands before a value or a document: anchors, aliases, tags, directives.

use super::scanner::{Kind, Mark, Scan, Scanner};

impl Scanner<'_> {
    fn word(&mut self) -> String {
        let mut word = String::new();
        while matches!(self.byte(0), b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-') {
            self.read(&mut word);
        }
        word
    }

    pub(super) fn anchor(&mut self) -> Scan<()> {
        self.may_be_key()?;
        self.key_allowed = false;
        let (start, alias) = (self.mark, self.byte(0) == b'*');
        self.skip();
        let name = self.word();
        if name.is_empty() || !(self.is_blank_or_end(0) || b"?:,]}%@`".contains(&self.byte(0))) {
            let context = if alias { "while scanning an alias" } else { "while scanning an anchor" };
            return self.fault_in(context, start, "did not find expected alphabetic or numeric character");
        }
        self.push(if alias { Kind::Alias(name) } else { Kind::Anchor(name) }, start);
        Ok(())
    }

    pub(super) fn tag(&mut self) -> Scan<()> {
        self.may_be_key()?;
        self.key_allowed = false;
        let start = self.mark;
        let (handle, suffix) = if self.byte(1) == b'<' {
            self.skip();
            self.skip();
            let suffix = self.uri(String::new(), start)?;
            if self.byte(0) != b'>' {
                return self.fault_in("while scanning a tag", start, "did not find the expected '>'");
            }
            self.skip();
            (String::new(), suffix)
        } else {
            let handle = self.handle();
            if handle.len() > 1 && handle.ends_with('!') {
                (handle, self.uri(String::new(), start)?)
            } else {
                let head = handle.get(1..).unwrap_or_default().to_owned();
                match self.uri(head, start)? {
                    suffix if suffix.is_empty() => (String::new(), "!".to_owned()),
                    suffix => ("!".to_owned(), suffix),
                }
            }
        };
        if !self.is_blank_or_end(0) {
            return self.fault_in("while scanning a tag", start, "did not find expected whitespace or line break");
        }
        self.push(Kind::Tag { handle, suffix }, start);
        Ok(())
    }

    /// `!`, `!word` or `!word!`.
    fn handle(&mut self) -> String {
        let mut handle = String::new();
        if self.byte(0) == b'!' {
            self.read(&mut handle);
            handle += &self.word();
            if self.byte(0) == b'!' {
                self.read(&mut handle);
            }
        }
        handle
    }

    fn uri(&mut self, head: String, start: Mark) -> Scan<String> {
        let mut bytes = head.into_bytes();
        loop {
            match self.byte(0) {
                b'%' => {
                    let digits = self.text.get(self.mark.at + 1..self.mark.at + 3).unwrap_or_default();
                    let Some(byte) = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')) else {
                        return self.fault_in("while parsing a tag", start, "did not find URI escaped octet");
                    };
                    bytes.push(byte);
                    for _ in 0..3 {
                        self.skip();
                    }
                }
                c if c.is_ascii_alphanumeric() || b"_-;/?:@&=+$,.!~*'()[]".contains(&c) => {
                    bytes.push(c);
                    self.skip();
                }
                _ => break,
            }
        }
        match String::from_utf8(bytes) {
            Ok(uri) => Ok(uri),
            Err(_) => self.fault_in("while parsing a tag", start, "found an incorrect UTF-8 octet"),
        }
    }

    pub(super) fn directive(&mut self) -> Scan<()> {
        self.unroll(-1);
        self.forget_key()?;
        self.key_allowed = false;
        let start = self.mark;
        self.skip();
        let kind = match self.word().as_str() {
            "YAML" => {
                self.blanks();
                let major = self.number(start)?;
                if self.byte(0) != b'.' {
                    return self.fault_in(
                        "while scanning a %YAML directive",
                        start,
                        "did not find expected digit or '.' character",
                    );
                }
                self.skip();
                Kind::Version { major, minor: self.number(start)? }
            }
            "TAG" => {
                self.blanks();
                let handle = self.handle();
                if handle.is_empty() || !(handle == "!" || handle.ends_with('!')) || !self.is_blank(0) {
                    return self.fault_in("while scanning a %TAG directive", start, "did not find expected whitespace");
                }
                self.blanks();
                Kind::TagPrefix { handle, prefix: self.uri(String::new(), start)? }
            }
            "" => return self.fault_in("while scanning a directive", start, "could not find expected directive name"),
            _ => return self.fault_in("while scanning a directive", start, "found unknown directive name"),
        };
        self.push(kind, start);
        self.blanks();
        if self.byte(0) == b'#' {
            while !self.is_break_or_end(0) {
                self.skip();
            }
        }
        if !self.is_break_or_end(0) {
            let problem = "did not find expected comment or line break";
            return self.fault_in("while scanning a directive", start, problem);
        }
        if !self.at_end() {
            self.skip_line();
        }
        Ok(())
    }

    fn number(&mut self, start: Mark) -> Scan<u32> {
        let mut digits = String::new();
        while self.byte(0).is_ascii_digit() {
            self.read(&mut digits);
        }
        match digits.parse() {
            Ok(number) if digits.len() < 10 => Ok(number),
            _ => self.fault_in("while scanning a %YAML directive", start, "did not find expected version number"),
        }
    }
}
