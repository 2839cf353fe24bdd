//! Env files: `.env`, `--env-file`, `env_file`, `label_file`.
//!
//! The grammar is Docker Compose's: `[export ]KEY=value` or `KEY: value`; `KEY` alone takes its value from the caller's
//! environment; unquoted values end at ` #`; `'…'` is literal; `"…"` knows backslash escapes; both may run over lines.
//! Unquoted and double-quoted values are interpolated. [`Format::Raw`] is the plainer format of `docker run --env-file`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Location, SourceFile};
use super::interpolate::template;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) enum Format {
    /// The grammar above.
    Compose,
    /// `KEY=value` as it stands: no quotes, no interpolation, `#` comments at a line's beginning only.
    Raw,
}

/// One line's outcome.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::spec) struct Assignment {
    /// The variable.
    pub name: String,
    /// Its value, interpolated.
    pub value: String,
    /// Where the name stands.
    pub at: Location,
}

/// Reads `file`; its assignments are given back in order and put into `known` (the later wins). `lookup` is the environment
/// to inherit and interpolate from; after it comes `known`, which holds what earlier files assigned. Warnings go to `found`.
pub(in crate::spec) fn parse(
    file: &Arc<SourceFile>,
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
    known: &mut BTreeMap<String, String>,
    found: &mut Vec<Diagnostic>,
) -> Result<Vec<Assignment>, Diagnostic> {
    match format {
        Format::Compose => Parser { file, text: file.text(), at: 0, lookup, known, found }.run(),
        Format::Raw => {
            let assignments = raw(file, lookup)?;
            known.extend(assignments.iter().map(|one| (one.name.clone(), one.value.clone())));
            Ok(assignments)
        }
    }
}

struct Parser<'a> {
    file: &'a Arc<SourceFile>,
    text: &'a str,
    at: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    known: &'a mut BTreeMap<String, String>,
    found: &'a mut Vec<Diagnostic>,
}

impl Parser<'_> {
    fn run(mut self) -> Result<Vec<Assignment>, Diagnostic> {
        let mut assignments = Vec::new();
        while self.statement() {
            if let Some(assignment) = self.assignment()? {
                self.known.insert(assignment.name.clone(), assignment.value.clone());
                assignments.push(assignment);
            }
        }
        Ok(assignments)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip(&mut self, blank: impl Fn(char) -> bool) {
        self.at = self.text.len() - self.rest().trim_start_matches(blank).len();
    }

    fn location(&self, from: usize, to: usize) -> Location {
        self.file.place(from, to)
    }

    /// Goes to the next statement, over blank lines and comments.
    fn statement(&mut self) -> bool {
        loop {
            self.skip(char::is_whitespace);
            if !self.rest().starts_with('#') {
                return !self.rest().is_empty();
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn assignment(&mut self) -> Result<Option<Assignment>, Diagnostic> {
        if self.rest().strip_prefix("export").is_some_and(|rest| rest.starts_with(char::is_whitespace)) {
            self.at += "export".len();
            self.skip(char::is_whitespace);
        }
        let begin = self.at;
        let mut end = self.text.len();
        let mut sign = None;
        for (at, c) in self.rest().char_indices() {
            match c {
                '=' | ':' | '\n' => {
                    (end, sign) = (begin + at, Some(c));
                    break;
                }
                '_' | '.' | '-' | '[' | ']' => {}
                c if is_blank(c) || c.is_alphanumeric() => {}
                c => {
                    let line = self.rest().lines().next().unwrap_or_default();
                    let place = self.location(begin + at, begin + at + c.len_utf8());
                    let message = format!("unexpected character {c:?} in variable name {line:?}");
                    return Err(Diagnostic::error(&place, message));
                }
            }
        }
        let name = self.text[begin..end].trim_end().to_owned();
        let at = self.location(begin, begin + name.len());
        if name.contains(' ') {
            return Err(Diagnostic::error(&at, "key cannot contain a space"));
        }
        self.at = (end + 1).min(self.text.len());
        match sign {
            Some('\n') | None => Ok((self.lookup)(&name).map(|value| Assignment { name, value, at })),
            Some(_) => {
                self.skip(is_blank);
                let value = self.value()?;
                Ok(Some(Assignment { name, value, at }))
            }
        }
    }

    fn value(&mut self) -> Result<String, Diagnostic> {
        let begin = self.at;
        let rest = self.rest();
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            let end = rest.find('\n').unwrap_or(rest.len());
            let line = &rest[..end];
            let value = line.split(" #").next().unwrap_or(line).trim_end().to_owned();
            self.at = (begin + end + 1).min(self.text.len());
            return self.interpolate(&value, begin);
        };
        let mut inner = String::new();
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match (c, escaped) {
                (c, true) if c == quote => inner.push(c),
                (c, false) if c == quote => {
                    self.at = begin + at + 1;
                    return if quote == '"' { self.interpolate(&unescape(&inner), begin) } else { Ok(inner) };
                }
                ('\\', false) => {
                    escaped = true;
                    continue;
                }
                (c, true) => inner.extend(['\\', c]),
                (c, false) => inner.push(c),
            }
            escaped = false;
        }
        let line = rest.lines().next().unwrap_or_default().to_owned();
        let place = self.location(begin, begin + line.len());
        Err(Diagnostic::error(&place, format!("unterminated quoted value {line}")))
    }

    fn interpolate(&mut self, value: &str, begin: usize) -> Result<String, Diagnostic> {
        let (lookup, known) = (self.lookup, &*self.known);
        let mut unset = Vec::new();
        let result =
            template::substitute(value, &|name| lookup(name).or_else(|| known.get(name).cloned()), &mut |name, _| {
                unset.push(name.to_owned())
            });
        for name in unset {
            let from = self.text[begin..].find(&name).map_or(begin, |n| begin + n);
            let place = self.location(from, from + name.len());
            let message = format!("The {name:?} variable is not set. Defaulting to a blank string.");
            self.found.push(Diagnostic::warning(&place, message));
        }
        result.map_err(|fault| {
            let place = self.location(begin, begin + value.len());
            Diagnostic::error(&place, fault.to_string())
        })
    }
}

/// White space that does not end a line.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

/// The escapes of a double-quoted value; what is none stays as it is. `\$` becomes `$$`, which interpolation takes for a `$`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (put, taken) = match rest.as_bytes().get(1) {
            Some(b'a') => ("\u{7}", 2),
            Some(b'b') => ("\u{8}", 2),
            Some(b'f') => ("\u{c}", 2),
            Some(b'n') => ("\n", 2),
            Some(b'r') => ("\r", 2),
            Some(b't') => ("\t", 2),
            Some(b'v') => ("\u{b}", 2),
            Some(b'"') => ("\"", 2),
            Some(b'\\') => ("\\", 2),
            Some(b'$') => ("$$", 2),
            Some(b'0') => {
                let digits: String = rest[2..].chars().take(3).take_while(char::is_ascii_digit).collect();
                let code = u8::from_str_radix(&digits, 8).ok().filter(|_| digits.len() == 3);
                match code {
                    Some(code) => out.push(char::from(code)),
                    None => out.extend(["\\", &digits]),
                }
                ("", 2 + digits.len())
            }
            Some(_) | None => ("\\", 1),
        };
        out.push_str(put);
        rest = &rest[taken..];
    }
    out + rest
}

fn raw(file: &Arc<SourceFile>, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Assignment>, Diagnostic> {
    let mut assignments = Vec::new();
    let mut begin = 0;
    for whole in file.text().split_inclusive('\n') {
        let (start, line) = (begin, whole.trim_end_matches('\n').trim_end_matches('\r').trim_start());
        begin += whole.len();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, lookup(line)),
        };
        let indent = whole.len() - whole.trim_start().len();
        let at = file.place(start + indent, start + indent + name.len());
        if name.is_empty() {
            return Err(Diagnostic::error(&at, format!("no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(Diagnostic::error(&at, format!("variable '{name}' contains whitespaces")));
        }
        if let Some(value) = value {
            assignments.push(Assignment { name: name.to_owned(), value, at });
        }
    }
    Ok(assignments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_as(format: Format, text: &str) -> Result<Vec<(String, String)>, String> {
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let read = parse(&SourceFile::new(".env", text), format, &lookup, &mut BTreeMap::new(), &mut Vec::new());
        read.map(|all| all.into_iter().map(|one| (one.name, one.value)).collect()).map_err(|fault| fault.to_string())
    }

    fn read(text: &str) -> Vec<(String, String)> {
        read_as(Format::Compose, text).unwrap()
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_may_be_exported_and_parted_by_equals_or_colon() {
        assert_eq!(
            read("# c\n\nexport A=1\nB: 2\n  C = 3  \r\nA.b-c[0]=4\n=5\nexportD=6"),
            pairs(&[("A", "1"), ("B", "2"), ("C", "3"), ("A.b-c[0]", "4"), ("", "5"), ("exportD", "6")])
        );
    }

    #[test]
    fn a_name_alone_is_inherited_or_not_set() {
        assert_eq!(read("HOME\nNOPE\nB=1\nHOME"), pairs(&[("HOME", "/root"), ("B", "1"), ("HOME", "/root")]));
    }

    #[test]
    fn an_unquoted_value_ends_at_a_comment_and_keeps_its_backslashes() {
        assert_eq!(
            read("A=x y # c\nB=x#y\nC=a\\nb\nD=\nE= # c\n"),
            pairs(&[("A", "x y"), ("B", "x#y"), ("C", "a\\nb"), ("D", ""), ("E", "# c")])
        );
    }

    #[test]
    fn single_quotes_are_literal_and_double_quotes_know_escapes() {
        assert_eq!(
            read("A='$HOME \\n it\\'s'\nB=\"$HOME\\t\\$HOME \\\"q\\\" \\x \\0101\"\nC='a\nb'\nD=\"a\nb\" # c\n"),
            pairs(&[("A", "$HOME \\n it's"), ("B", "/root\t$HOME \"q\" \\x A"), ("C", "a\nb"), ("D", "a\nb")])
        );
    }

    #[test]
    fn values_see_the_caller_first_and_then_what_stands_above() {
        assert_eq!(
            read("HOME=/x\nA=$HOME\nB=${A}/b\nC=${NO:-d}\n"),
            pairs(&[("HOME", "/x"), ("A", "/root"), ("B", "/root/b"), ("C", "d")])
        );
    }

    #[test]
    fn faults_point_at_their_line() {
        insta::assert_snapshot!(read_as(Format::Compose, "A=1\nB!=2\n").unwrap_err(), @r#"
        .env:2:2: error: unexpected character '!' in variable name "B!=2"
         2 | B!=2
           |  ^
        "#);
        insta::assert_snapshot!(read_as(Format::Compose, "A=1\nB=\"x\ny\n").unwrap_err(), @r#"
        .env:2:3: error: unterminated quoted value "x
         2 | B="x
           |   ^^
        "#);
        assert!(read_as(Format::Compose, "A B=1").unwrap_err().contains("key cannot contain a space"));
        assert!(read_as(Format::Compose, "A=${").unwrap_err().contains("invalid interpolation format"));
    }

    #[test]
    fn the_raw_format_takes_values_as_they_stand() {
        assert_eq!(
            read_as(Format::Raw, "A='x' # y\n  # c\nB=$HOME\nHOME\nNOPE\n C=1 \r\n").unwrap(),
            pairs(&[("A", "'x' # y"), ("B", "$HOME"), ("HOME", "/root"), ("C", "1 ")])
        );
        assert!(read_as(Format::Raw, "A B=1").is_err());
        assert!(read_as(Format::Raw, "=1").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-C=: '\"\\\\$\\{\\}#\n0é]{0,60}") {
            let _ = read_as(Format::Compose, &text);
            let _ = read_as(Format::Raw, &text);
        }

        #[test]
        fn a_single_quoted_value_comes_back(value in "[^'\\\\]*") {
            prop_assert_eq!(read(&format!("A='{value}'\n")), pairs(&[("A", &value)]));
        }
    }
}
