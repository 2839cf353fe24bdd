//! `.dockerignore`: which files of a context a build does not see (Dockerfile reference, ".dockerignore file").
//!
//! A line is a pattern, `#` begins a comment, `!` takes back. `*`, `?` and `[a-z]` match within a name, `**` over any number of
//! folders. A pattern that matches a folder matches everything below it; the last line that matches decides.
//!
//! What a pattern matches is what moby's `patternmatcher` makes of it, oddities included: it takes a pattern for a regular expression
//! or, where that is quicker, for a text that a path begins or ends with.

use std::path::{Component, Path};

use regex_lite::Regex;

use crate::runtime::build::wildcard::{Wildcard, malformed};

/// The rules of one file.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    kept: bool,
    pattern: Pattern,
}

/// Which paths a pattern matches.
#[derive(Debug, Clone)]
enum Pattern {
    /// This one.
    Exact(String),
    /// Those that begin so: `a/**`.
    Prefix(String),
    /// Those that end so, not only in a whole name: `**b`, `**/b`.
    Suffix(String),
    /// Any other.
    Regex(Regex),
}

/// What a pattern has been so far.
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

impl Ignore {
    /// Reads the rules; the error has the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Ignore, (usize, String)> {
        let mut rules = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let comment = line.starts_with('#');
            let line = line.trim();
            if line.is_empty() || comment {
                continue;
            }
            let (mark, pattern) = line.strip_prefix('!').map_or(("", line), |pattern| ("!", pattern.trim()));
            // A mark may come to the front only now: `/!a` is an exception, too.
            let pattern = format!("{mark}{}", in_context(pattern));
            let pattern = match pattern.trim() {
                "" => continue,
                pattern => clean(pattern),
            };
            let (kept, pattern) = pattern.strip_prefix('!').map_or((false, &*pattern), |pattern| (true, pattern));
            if pattern.is_empty() {
                return Err((number + 1, "an exception names nothing: \"!\"".to_owned()));
            }
            let pattern = Pattern::parse(pattern).map_err(|error| (number + 1, error))?;
            rules.push(Rule { kept, pattern });
        }
        Ok(Ignore { rules })
    }

    /// Whether a build does not see this path (relative, without `.` and `..`).
    pub fn excludes(&self, path: &Path) -> bool {
        let path = path.to_string_lossy();
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        // Which rules match a folder above.
        let mut above = vec![false; self.rules.len()];
        let mut excluded = false;
        for end in ends {
            excluded = false;
            for (rule, above) in self.rules.iter().zip(&mut above) {
                // A rule that would change nothing is not asked, and then says nothing of what lies below.
                *above = *above || (rule.kept == excluded && rule.pattern.matches(&path[..end]));
                if *above {
                    excluded = !rule.kept;
                }
            }
        }
        excluded
    }

    /// Whether there is no rule.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether something below an excluded folder may be seen all the same.
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.kept)
    }
}

/// A pattern as one of the context, where a leading slash means nothing.
fn in_context(pattern: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    let clean = clean(pattern);
    clean.strip_prefix('/').filter(|rest| !rest.is_empty()).map(str::to_owned).unwrap_or(clean)
}

/// As Go cleans paths.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_none_or(|last| *last == "..") => {
                if !rooted {
                    parts.push(part);
                }
            }
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, String> {
        check(text)?;
        let mut shape = Shape::Exact;
        let mut regex = String::from("^");
        let mut chars = text.chars().peekable();
        let mut is_first = true;
        while let Some(c) = chars.next() {
            match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    let is_last = chars.peek().is_none();
                    regex.push_str(if is_last { ".*" } else { "(.*/)?" });
                    shape = match shape {
                        _ if is_first => Shape::Suffix,
                        Shape::Exact if is_last => Shape::Prefix,
                        _ => Shape::Regex,
                    };
                }
                '*' | '?' | '[' | ']' | '\\' => {
                    shape = Shape::Regex;
                    match c {
                        '*' => regex.push_str("[^/]*"),
                        '?' => regex.push_str("[^/]"),
                        '\\' => regex.extend([c].into_iter().chain(chars.next())),
                        c => regex.push(c),
                    }
                }
                // Nothing else: `|` and `{2}` mean what they do in a regular expression.
                '.' | '+' | '(' | ')' | '$' => regex.extend(['\\', c]),
                c => regex.push(c),
            }
            is_first = false;
        }
        Ok(match shape {
            Shape::Exact => Pattern::Exact(text.to_owned()),
            Shape::Prefix => Pattern::Prefix(text[..text.len() - 2].to_owned()),
            Shape::Suffix => Pattern::Suffix(text[2..].to_owned()),
            Shape::Regex => {
                let regex = as_rusts(&(regex + "$")).ok_or_else(|| malformed(text, "repeats a repetition"))?;
                let regex = Regex::new(&regex).map_err(|error| malformed(text, &format!("is malformed: {error}")))?;
                Pattern::Regex(regex)
            }
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Pattern::Exact(exact) => path == exact,
            Pattern::Prefix(prefix) => path.starts_with(prefix),
            Pattern::Suffix(suffix) => path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path),
            Pattern::Regex(regex) => regex.is_match(path),
        }
    }
}

/// Whether Go's `filepath.Match` would complain when it compares a pattern with `.`: it reads no further than from one `*` to the next
/// once it knows that they differ.
fn check(pattern: &str) -> Result<(), String> {
    let mut chars = pattern.char_indices().peekable();
    let (mut in_class, mut after_star) = (false, true);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            '*' if !in_class && !after_star => {
                let begin = Wildcard::parse(&pattern[..at])?;
                if !begin.matches("") && !begin.matches(".") {
                    return Ok(());
                }
            }
            _ => {}
        }
        after_star = c == '*' && !in_class;
    }
    Wildcard::parse(pattern).map(drop)
}

/// A regular expression of Go as one of Rust, where more is special; `None` if only Go takes it for malformed.
fn as_rusts(regex: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = regex;
    // Characters of the class so far, without the `^`.
    let mut class: Option<usize> = None;
    let mut after_repetition = false;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        let counts = class.is_none() && c == '{' && repetition(rest).is_some();
        match (c, class) {
            ('\\', _) => {
                let next = rest[1..].chars().next();
                taken += next.map_or(0, char::len_utf8);
                // Those would be ends of words.
                let alone = matches!(next, Some('<' | '>'));
                out.push_str(&rest[usize::from(alone)..taken]);
            }
            ('[', None) => {
                taken += usize::from(rest[1..].starts_with('^'));
                out.push_str(&rest[..taken]);
            }
            ('{', None) => match repetition(rest) {
                Some(length) if !after_repetition => {
                    taken = length;
                    out.push_str(&rest[..length]);
                }
                Some(_) => return None,
                None => out.push_str("\\{"),
            },
            ('[', Some(_)) if rest[1..].starts_with(':') => out.push(c),
            (']', Some(1..)) => out.push(c),
            ('}', None) | ('[' | ']' | '&' | '~', Some(_)) => out.extend(['\\', c]),
            _ => out.push(c),
        }
        after_repetition = class.is_none() && (counts || matches!(c, '*' | '?'));
        class = match (c, class) {
            ('[', None) => Some(0),
            (']', Some(1..)) => None,
            (_, class) => class.map(|count| count + 1),
        };
        rest = &rest[taken..];
    }
    Some(out)
}

/// How long a text is at the front that says how often: `{2}`, `{2,}`, `{2,3}`.
fn repetition(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('{')?.split_once('}')?.0;
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(inner.len() + 2)
}

/// A path of the context without `.`, `..` and a leading slash; `None` if it climbs out.
pub(super) fn inside(path: &str) -> Option<std::path::PathBuf> {
    let mut clean = std::path::PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::Normal(part) => clean.push(part),
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(rules: &str, path: &str) -> bool {
        Ignore::parse(rules).unwrap().excludes(Path::new(path))
    }

    #[test]
    fn patterns_match_as_dockers_do() {
        for (rules, hit, miss) in [
            ("*/temp*", "somedir/temporary.txt", "temp"),
            ("*/*/temp*", "a/b/temp", "a/temp"),
            ("temp?", "tempa", "temp"),
            ("**/*.go", "a/b/c.go", "a/go"),
            ("**/*.go", "c.go", "c.gox"),
            ("a/**/b", "a/b", "ab"),
            ("a/**/b", "a/x/y/b", "a/x/yb"),
            ("/node_modules", "node_modules/x/y", "a/node_modules"),
            ("dir", "dir/sub/file", "dir2"),
            ("./dir/../other/", "other/x", "dir/x"),
            ("[a-c]x", "bx/y", "dx"),
            ("[^a-c]x", "dx", "bx"),
            (r"a\*", "a*", "ab"),
            ("dir/**", "dir/a/b", "dir"),
            ("**", "anything/at/all", ""),
            ("# comment\n\n  x  ", "x", "# comment"),
            (" #x", "#x", "x"),
            ("../x\n/../y", "y", "x"),
            ("a**b", "a/c/b", "axb"),
            ("**b", "ab", "ba"),
            ("**.pyc", "a/x.pyc", "a/x.pyc.txt"),
            ("a**", "ab/c", "b"),
            ("[!a]", "!", "b"),
            ("/!x\nx", "x", "y"),
            ("*\n/!x", "y", "x"),
        ] {
            assert!(excludes(rules, hit), "{rules:?} should match {hit}");
            assert!(miss.is_empty() || !excludes(rules, miss), "{rules:?} should not match {miss}");
        }
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        let rules = "*.md\n!README*.md\nREADME-secret.md";
        assert!(excludes(rules, "a.md") && !excludes(rules, "README.md") && excludes(rules, "README-secret.md"));
        assert!(!excludes("*\n!kept/this", "kept/this/file") && excludes("*\n!kept/this", "kept/that"));
        assert!(!excludes(".", "a"));
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        assert_eq!(Ignore::parse("ok\n[a").unwrap_err().0, 2);
        assert_eq!(Ignore::parse("!").unwrap_err().0, 1);
        for malformed in ["[]a]", "[-a]", "[^]", "!/", "a*{2}"] {
            assert!(Ignore::parse(malformed).is_err(), "{malformed}");
        }
        // Nobody looks behind a star that does not match a dot.
        assert!(excludes("x*[-_]y", "xa-y"));
        assert!(Ignore::parse("a\\").unwrap_err().1.contains("ends with"));
    }

    #[test]
    fn a_long_pattern_of_stars_takes_no_time() {
        assert!(!excludes(&"*a".repeat(200), &"a".repeat(150)));
    }

    #[test]
    fn paths_stay_inside_the_context() {
        assert_eq!(inside("/a/./b/../c"), Some("a/c".into()));
        assert_eq!(inside("a/../../b"), None);
        assert_eq!(inside("."), Some("".into()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(rules in r"[\[\]\\*?!#a/\-.\n{},2|^:&~<>]{0,30}", path in "[ab/]{1,10}") {
            if let Ok(ignore) = Ignore::parse(&rules) {
                ignore.excludes(Path::new(&path));
            }
        }
    }
}
