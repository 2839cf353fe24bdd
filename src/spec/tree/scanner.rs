//! Text to tokens, as libyaml scans: Docker Compose's YAML library is a port of it, so both take the same files.
//!
//! Own code, because the libraries at hand either follow the stricter YAML 1.2 (and refuse what real files have: a `]` at
//! its key's indentation, a tab behind a colon) or panic on crafted input. Nothing here can: positions are looked at
//! through [`Scanner::byte`], which is 0 past the end. The scalars are in [`super::scalars`].

use std::collections::VecDeque;

/// Flow collections within each other; the tree allows no more levels either.
const FLOW: usize = 250;
/// A key without `?` is on one line and no longer than this (YAML 1.1, §7.3).
const KEY: usize = 1024;

/// A place in the text: bytes from the start, lines and characters from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub at: usize,
    pub line: usize,
    pub column: usize,
}

/// Why the text is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub problem: &'static str,
    pub at: Mark,
    /// What was being read, and where it began.
    pub during: Option<(&'static str, Mark)>,
}

pub(super) type Scan<T> = Result<T, Fault>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Version { major: u32, minor: u32 },
    TagPrefix { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag { handle: String, suffix: String },
    Scalar { text: String, plain: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: Mark,
    pub end: Mark,
}

/// Something that turns out to be a key if a `:` follows.
#[derive(Debug, Clone, Copy)]
struct PossibleKey {
    required: bool,
    number: usize,
    mark: Mark,
}

pub(super) struct Scanner<'t> {
    pub(super) text: &'t str,
    pub(super) mark: Mark,
    pub(super) indent: isize,
    pub(super) flow: usize,
    /// Whether a key may begin here.
    pub(super) key_allowed: bool,
    indents: Vec<isize>,
    /// One a flow level, and one for the block.
    keys: Vec<Option<PossibleKey>>,
    tokens: VecDeque<Token>,
    taken: usize,
    ended: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            mark: Mark::default(),
            indent: -1,
            flow: 0,
            key_allowed: true,
            indents: Vec::new(),
            keys: vec![None],
            tokens: VecDeque::new(),
            taken: 0,
            ended: false,
        }
    }

    /// The next token, left where it is. After the end, the end again.
    pub(super) fn peek(&mut self) -> Scan<&Token> {
        self.fill()?;
        let end = Fault { problem: "the text has ended", at: self.mark, during: None };
        self.tokens.front().ok_or(end)
    }

    /// Takes the next token; the end stays.
    pub(super) fn take(&mut self) -> Scan<Token> {
        if let end @ Token { kind: Kind::StreamEnd, .. } = self.peek()? {
            return Ok(end.clone());
        }
        self.taken += 1;
        let end = Fault { problem: "the text has ended", at: self.mark, during: None };
        self.tokens.pop_front().ok_or(end)
    }

    /// Scans until the first token can't turn out to be a key any more.
    fn fill(&mut self) -> Scan<()> {
        loop {
            if !self.tokens.is_empty() {
                self.stale()?;
                let open = |key: &Option<PossibleKey>| key.is_some_and(|key| key.number == self.taken);
                if !self.keys.iter().any(open) {
                    return Ok(());
                }
            }
            if self.ended {
                return Ok(());
            }
            self.fetch()?;
        }
    }

    pub(super) fn fault<T>(&self, problem: &'static str) -> Scan<T> {
        Err(Fault { problem, at: self.mark, during: None })
    }

    pub(super) fn fault_in<T>(&self, context: &'static str, start: Mark, problem: &'static str) -> Scan<T> {
        Err(Fault { problem, at: self.mark, during: Some((context, start)) })
    }

    // --- the text

    /// The byte `ahead`; 0 past the end.
    pub(super) fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.mark.at + ahead).copied().unwrap_or(0)
    }

    pub(super) fn at_end(&self) -> bool {
        self.mark.at >= self.text.len()
    }

    /// The character here.
    pub(super) fn char(&self) -> Option<char> {
        self.text.get(self.mark.at..)?.chars().next()
    }

    fn char_at(&self, ahead: usize) -> Option<char> {
        self.text.get(self.mark.at + ahead..)?.chars().next()
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    /// A line's end. `ahead` must count ASCII only.
    pub(super) fn is_break(&self, ahead: usize) -> bool {
        match self.byte(ahead) {
            b'\r' | b'\n' => true,
            0xc2 | 0xe2 => matches!(self.char_at(ahead), Some('\u{85}' | '\u{2028}' | '\u{2029}')),
            _ => false,
        }
    }

    pub(super) fn is_end(&self, ahead: usize) -> bool {
        self.mark.at + ahead >= self.text.len()
    }

    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.is_end(ahead) || self.is_break(ahead)
    }

    pub(super) fn is_blank_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// Steps over one character that does not end a line.
    pub(super) fn skip(&mut self) {
        self.mark.at += self.char().map_or(0, char::len_utf8);
        self.mark.column += 1;
    }

    /// Takes one character that does not end a line.
    pub(super) fn read(&mut self, into: &mut String) {
        into.extend(self.char());
        self.skip();
    }

    /// Steps over a line's end.
    pub(super) fn skip_line(&mut self) {
        let bytes =
            if self.byte(0) == b'\r' && self.byte(1) == b'\n' { 2 } else { self.char().map_or(0, char::len_utf8) };
        self.mark = Mark { at: self.mark.at + bytes, line: self.mark.line + 1, column: 0 };
    }

    /// Takes a line's end, as `\n` unless it is one of Unicode's.
    pub(super) fn read_line(&mut self, into: &mut String) {
        match self.char() {
            Some(c @ ('\u{2028}' | '\u{2029}')) => into.push(c),
            _ => into.push('\n'),
        }
        self.skip_line();
    }

    pub(super) fn document_indicator(&self) -> bool {
        let three = |c: u8| (0..3).all(|n| self.byte(n) == c);
        self.mark.column == 0 && (three(b'-') || three(b'.')) && self.is_blank_or_end(3)
    }

    // --- tokens

    pub(super) fn push(&mut self, kind: Kind, start: Mark) {
        self.tokens.push_back(Token { kind, start, end: self.mark });
    }

    fn single(&mut self, kind: Kind) {
        let start = self.mark;
        self.skip();
        self.push(kind, start);
    }

    fn fetch(&mut self) -> Scan<()> {
        self.skip_to_next_token();
        self.stale()?;
        self.unroll(self.column());
        if self.at_end() {
            return self.stream_end();
        }
        let flow = self.flow > 0;
        match self.byte(0) {
            b'%' if self.mark.column == 0 => self.directive(),
            b'-' | b'.' if self.document_indicator() => self.indicator(),
            b'[' => self.flow_start(Kind::FlowSequenceStart),
            b'{' => self.flow_start(Kind::FlowMappingStart),
            b']' => self.flow_end(Kind::FlowSequenceEnd),
            b'}' => self.flow_end(Kind::FlowMappingEnd),
            b',' => self.flow_entry(),
            b'-' if self.is_blank_or_end(1) => self.block_entry(),
            b'?' if flow || self.is_blank_or_end(1) => self.key(),
            b':' if flow || self.is_blank_or_end(1) => self.value(),
            b'*' | b'&' => self.anchor(),
            b'!' => self.tag(),
            c @ (b'|' | b'>') if !flow => {
                self.forget_key()?;
                self.key_allowed = true;
                let token = self.block_scalar(c == b'|')?;
                self.tokens.push_back(token);
                Ok(())
            }
            c @ (b'\'' | b'"') => {
                self.may_be_key()?;
                self.key_allowed = false;
                let token = self.quoted(c == b'\'')?;
                self.tokens.push_back(token);
                Ok(())
            }
            c => {
                let indicator = b"-?:,[]{}#&*!|>'\"%@`".contains(&c) || self.is_blank_or_end(0);
                let follows =
                    (c == b'-' && !self.is_blank(1)) || (!flow && matches!(c, b'?' | b':') && !self.is_blank_or_end(1));
                if indicator && !follows {
                    let problem = "found character that cannot start any token";
                    return self.fault_in("while scanning for the next token", self.mark, problem);
                }
                self.may_be_key()?;
                self.key_allowed = false;
                let token = self.plain()?;
                self.tokens.push_back(token);
                Ok(())
            }
        }
    }

    pub(super) fn column(&self) -> isize {
        isize::try_from(self.mark.column).unwrap_or(isize::MAX)
    }

    /// Over white space, comments and line ends.
    fn skip_to_next_token(&mut self) {
        loop {
            if self.mark.column == 0 && self.char() == Some('\u{feff}') {
                self.skip();
            }
            // A tab may not stand where it would count as indentation.
            while self.byte(0) == b' ' || (self.byte(0) == b'\t' && (self.flow > 0 || !self.key_allowed)) {
                self.skip();
            }
            if self.byte(0) == b'#' {
                while !self.is_break_or_end(0) {
                    self.skip();
                }
            }
            if self.at_end() || !self.is_break(0) {
                return;
            }
            self.skip_line();
            if self.flow == 0 {
                self.key_allowed = true;
            }
        }
    }

    fn stale(&mut self) -> Scan<()> {
        for key in &mut self.keys {
            if let Some(PossibleKey { required, mark, .. }) = *key
                && (mark.line < self.mark.line || mark.at + KEY < self.mark.at)
            {
                if required {
                    return Err(no_colon(self.mark, mark));
                }
                *key = None;
            }
        }
        Ok(())
    }

    pub(super) fn may_be_key(&mut self) -> Scan<()> {
        if self.key_allowed {
            let required = self.flow == 0 && self.indent == self.column();
            self.forget_key()?;
            let key = PossibleKey { required, number: self.taken + self.tokens.len(), mark: self.mark };
            if let Some(last) = self.keys.last_mut() {
                *last = Some(key);
            }
        }
        Ok(())
    }

    pub(super) fn forget_key(&mut self) -> Scan<()> {
        match self.keys.last_mut().and_then(Option::take) {
            Some(PossibleKey { required: true, mark, .. }) => Err(no_colon(self.mark, mark)),
            Some(_) | None => Ok(()),
        }
    }

    /// Begins a block collection if this column is further in. `number`: before which token.
    fn roll(&mut self, column: isize, number: Option<usize>, kind: Kind, mark: Mark) {
        if self.flow == 0 && self.indent < column {
            self.indents.push(self.indent);
            self.indent = column;
            let token = Token { kind, start: mark, end: mark };
            match number {
                Some(number) => self.insert(number, token),
                None => self.tokens.push_back(token),
            }
        }
    }

    fn insert(&mut self, number: usize, token: Token) {
        let place = number.saturating_sub(self.taken).min(self.tokens.len());
        self.tokens.insert(place, token);
    }

    /// Ends the block collections that are further in than `column`.
    pub(super) fn unroll(&mut self, column: isize) {
        while self.flow == 0 && self.indent > column {
            self.push(Kind::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn stream_end(&mut self) -> Scan<()> {
        if self.mark.column != 0 {
            self.mark = Mark { column: 0, line: self.mark.line + 1, ..self.mark };
        }
        self.unroll(-1);
        self.forget_key()?;
        self.key_allowed = false;
        self.ended = true;
        self.push(Kind::StreamEnd, self.mark);
        Ok(())
    }

    fn indicator(&mut self) -> Scan<()> {
        self.unroll(-1);
        self.forget_key()?;
        self.key_allowed = false;
        let (start, kind) = (self.mark, if self.byte(0) == b'-' { Kind::DocumentStart } else { Kind::DocumentEnd });
        for _ in 0..3 {
            self.skip();
        }
        self.push(kind, start);
        Ok(())
    }

    fn flow_start(&mut self, kind: Kind) -> Scan<()> {
        self.may_be_key()?;
        if self.flow >= FLOW {
            return self.fault("nested too deeply");
        }
        self.flow += 1;
        self.keys.push(None);
        self.key_allowed = true;
        self.single(kind);
        Ok(())
    }

    fn flow_end(&mut self, kind: Kind) -> Scan<()> {
        self.forget_key()?;
        if self.flow > 0 {
            self.flow -= 1;
            self.keys.pop();
        }
        self.key_allowed = false;
        self.single(kind);
        Ok(())
    }

    fn flow_entry(&mut self) -> Scan<()> {
        self.forget_key()?;
        self.key_allowed = true;
        self.single(Kind::FlowEntry);
        Ok(())
    }

    fn block_entry(&mut self) -> Scan<()> {
        if self.flow == 0 {
            if !self.key_allowed {
                return self.fault("block sequence entries are not allowed in this context");
            }
            self.roll(self.column(), None, Kind::BlockSequenceStart, self.mark);
        }
        self.forget_key()?;
        self.key_allowed = true;
        self.single(Kind::BlockEntry);
        Ok(())
    }

    fn key(&mut self) -> Scan<()> {
        if self.flow == 0 {
            if !self.key_allowed {
                return self.fault("mapping keys are not allowed in this context");
            }
            self.roll(self.column(), None, Kind::BlockMappingStart, self.mark);
        }
        self.forget_key()?;
        self.key_allowed = self.flow == 0;
        self.single(Kind::Key);
        Ok(())
    }

    fn value(&mut self) -> Scan<()> {
        if let Some(key) = self.keys.last_mut().and_then(Option::take) {
            self.insert(key.number, Token { kind: Kind::Key, start: key.mark, end: key.mark });
            let column = isize::try_from(key.mark.column).unwrap_or(isize::MAX);
            self.roll(column, Some(key.number), Kind::BlockMappingStart, key.mark);
            self.key_allowed = false;
        } else {
            if self.flow == 0 {
                if !self.key_allowed {
                    return self.fault("mapping values are not allowed in this context");
                }
                self.roll(self.column(), None, Kind::BlockMappingStart, self.mark);
            }
            self.key_allowed = self.flow == 0;
        }
        self.single(Kind::Value);
        Ok(())
    }

    pub(super) fn blanks(&mut self) {
        while self.is_blank(0) {
            self.skip();
        }
    }
}

fn no_colon(at: Mark, key: Mark) -> Fault {
    Fault { problem: "could not find expected ':'", at, during: Some(("while scanning a simple key", key)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Kinds and texts of all tokens, or the problem.
    fn scan(text: &str) -> Result<Vec<Kind>, &'static str> {
        let mut scanner = Scanner::new(text);
        let mut kinds = Vec::new();
        loop {
            match scanner.take().map_err(|fault| fault.problem)?.kind {
                Kind::StreamEnd => return Ok(kinds),
                kind => kinds.push(kind),
            }
        }
    }

    fn texts(text: &str) -> Vec<String> {
        let kinds = scan(text).unwrap();
        kinds
            .into_iter()
            .filter_map(|kind| if let Kind::Scalar { text, .. } = kind { Some(text) } else { None })
            .collect()
    }

    #[test]
    fn quoted_and_plain_texts_fold_their_lines() {
        assert_eq!(texts("a b\n  c\n\n  d"), ["a b c\nd"]);
        assert_eq!(texts("'it''s\n  on'"), ["it's on"]);
        assert_eq!(texts("\"a\\n\\x41\\u00e9 \\\n  b\""), ["a\nA\u{e9} b"]);
    }

    #[test]
    fn block_texts_chomp_and_fold_as_they_are_told() {
        assert_eq!(texts("|\n a\n  b\n\n"), ["a\n b\n"]);
        assert_eq!(texts("|+\n a\n\n"), ["a\n\n"]);
        assert_eq!(texts("|-\n a\n\n"), ["a"]);
        assert_eq!(texts(">\n a\n b\n\n c\n  d\n"), ["a b\nc\n d\n"]);
        assert_eq!(texts("|2\n   a"), [" a"]);
    }

    #[test]
    fn real_files_have_tabs_behind_colons_and_brackets_at_the_keys_indentation() {
        assert_eq!(texts("a:\tb\nc: [\n  d\n]\ne: \"f\ng\""), ["a", "b", "c", "d", "e", "f g"]);
    }

    #[test]
    fn what_is_no_yaml_is_named() {
        for (text, problem) in [
            ("a: b: c", "mapping values are not allowed in this context"),
            ("a: @b", "found character that cannot start any token"),
            ("a: 'b", "found unexpected end of stream"),
            ("a: \"\\q\"", "found unknown escape character"),
            ("a: |\n\tb", "found a tab character where an indentation space is expected"),
            ("a: - b", "block sequence entries are not allowed in this context"),
            ("%FOO x\n", "found unknown directive name"),
            ("a: &\n", "did not find expected alphabetic or numeric character"),
        ] {
            assert_eq!(scan(text).unwrap_err(), problem, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_to_its_end_or_refused(text in "[-a :?\\[\\]{},&*!|>'\"%#\\\\\n\t~<x0\u{85}\u{2028}\u{feff}]{0,60}") {
            let _ = scan(&text);
        }

        #[test]
        fn a_quoted_text_comes_back(text in "[a-z' :#{}-]*") {
            prop_assert_eq!(texts(&format!("'{}'", text.replace('\'', "''"))), vec![text]);
        }
    }
}
