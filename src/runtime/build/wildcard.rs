//! Wildcards in a name (Go's `filepath.Match`): `*`, `?`, `[a-z]`, `[^a-z]`, and `\` before what is meant as it stands.

use std::ffi::OsString;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

use regex_lite::Regex;

/// A pattern for one name.
#[derive(Debug, Clone)]
pub(super) enum Wildcard {
    /// There is nothing special in it: the name that it stands for.
    Plain(OsString),
    /// Which names it stands for.
    Any(Regex),
}

impl Wildcard {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Wildcard, String> {
        let (mut plain, mut is_plain, mut regex) = (String::new(), true, String::from("(?s)^"));
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            is_plain &= !matches!(c, '*' | '?' | '[');
            match c {
                '*' => regex.push_str("[^/]*"),
                '?' => regex.push_str("[^/]"),
                '[' => {
                    let class = class(&mut chars).ok_or_else(|| malformed(text, "has a [ that is malformed"))?;
                    regex.push_str(&class);
                }
                c => {
                    let meant = if c == '\\' { chars.next() } else { Some(c) };
                    let meant = meant.ok_or_else(|| malformed(text, "ends with \\"))?;
                    plain.push(meant);
                    regex.push_str(&regex_lite::escape(meant.encode_utf8(&mut [0; 4])));
                }
            }
        }
        if is_plain {
            return Ok(Wildcard::Plain(plain.into()));
        }
        Regex::new(&(regex + "$")).map(Wildcard::Any).map_err(|error| malformed(text, &error.to_string()))
    }

    /// Whether it stands for this name.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Wildcard::Plain(plain) => plain == name,
            Wildcard::Any(regex) => regex.is_match(name),
        }
    }
}

/// A pattern for a path, name by name.
#[derive(Debug)]
pub(super) struct Wildcards(pub(super) Vec<Wildcard>);

impl Wildcards {
    /// Reads the pattern of a clean path.
    pub(super) fn parse(path: &Path) -> Result<Wildcards, String> {
        path.iter().map(|name| Wildcard::parse(&name.to_string_lossy())).collect::<Result<_, _>>().map(Wildcards)
    }

    /// Of a path that is meant as it stands.
    pub(super) fn plain(path: &Path) -> Wildcards {
        Wildcards(path.iter().map(|name| Wildcard::Plain(name.to_owned())).collect())
    }

    /// Whether it stands for one path only.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|name| matches!(name, Wildcard::Plain(_)))
    }
}

pub(super) fn malformed(pattern: &str, how: &str) -> String {
    format!("the pattern {pattern:?} {how}")
}

/// What follows a `[`, as a regular expression; `None` is malformed.
fn class(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let inverted = chars.next_if_eq(&'^').is_some();
    let mut ranges = String::new();
    let mut first_range = true;
    while first_range || chars.next_if_eq(&']').is_none() {
        first_range = false;
        let first = one_of_class(chars)?;
        let last = if chars.next_if_eq(&'-').is_some() { one_of_class(chars)? } else { first };
        // One that runs backwards holds nothing. Codes, so that no character means anything.
        if first <= last {
            ranges += &format!("\\x{{{:X}}}-\\x{{{:X}}}", u32::from(first), u32::from(last));
        }
    }
    Some(match (inverted, ranges.as_str()) {
        (false, "") => "[^\\x{0}-\\x{10FFFF}]".to_owned(),
        (true, "") => ".".to_owned(),
        (false, ranges) => format!("[{ranges}]"),
        (true, ranges) => format!("[^{ranges}]"),
    })
}

fn one_of_class(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Wildcard::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn wildcards_match_as_gos_do() {
        for (pattern, hit, miss) in [
            ("a*c", "abbc", "abbd"),
            ("a?c", "a\nc", "a/c"),
            ("**", "x", "x/y"),
            ("[a-c]x", "bx", "dx"),
            ("[^a-c]x", "dx", "bx"),
            ("[!a]", "!", "b"),
            (r"[\]\-]", "-", "\\"),
            ("[z-a]*", "", "b"),
            ("[^z-a]", "b", ""),
            ("[[]", "[", "]"),
            ("[a&&b]", "&", "c"),
            (r"\*", "*", "a"),
            (r"a.b+$", "a.b+$", "axb"),
            ("[ä-ü]", "ö", "o"),
        ] {
            assert!(hit.is_empty() || matches(pattern, hit), "{pattern} {hit:?}");
            assert!(!matches(pattern, miss), "{pattern} {miss:?}");
        }
    }

    #[test]
    fn what_go_takes_for_malformed_is_refused() {
        for pattern in ["[", "[]", "[]a]", "[^]", "[^]a]", "[-a]", "[a-]", "[a", "[a-", r"[\", r"a\", "x[a]["] {
            assert!(Wildcard::parse(pattern).is_err(), "{pattern}");
        }
    }
}
