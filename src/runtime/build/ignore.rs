//! `.dockerignore`: which files of a context a build does not see (Dockerfile reference, ".dockerignore file"; moby's `patternmatcher`).
//!
//! A line is a pattern, `#` begins a comment, `!` takes back. `*`, `?` and `[a-z]` match within a name, `**` over any number of
//! folders. A pattern that matches a folder matches everything below it; the last line that matches decides.

use std::path::{Component, Path};

/// The rules of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    kept: bool,
    pattern: Pattern,
}

/// A pattern that matches whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Some,
    /// `**` at the end: anything, slashes too.
    All,
    /// `**/`, `**`: any number of folders, also none.
    Folders,
    /// `[a-z]`, `[^a]`
    Class {
        inverted: bool,
        ranges: Vec<(char, char)>,
    },
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
            let (kept, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            if pattern.is_empty() {
                return Err((number + 1, "an exception names nothing: \"!\"".to_owned()));
            }
            // `.` is the context itself, which nothing can leave out.
            let cleaned = clean(pattern);
            if !cleaned.is_empty() {
                let pattern = Pattern::parse(&cleaned).map_err(|error| (number + 1, error))?;
                rules.push(Rule { kept, pattern });
            }
        }
        Ok(Ignore { rules })
    }

    /// Whether a build does not see this path (relative, without `.` and `..`).
    pub fn excludes(&self, path: &Path) -> bool {
        let parts: Vec<char> = path.to_string_lossy().chars().collect();
        let ends: Vec<usize> =
            parts.iter().enumerate().filter(|(_, c)| **c == '/').map(|(at, _)| at).chain([parts.len()]).collect();
        let matches = |rule: &&Rule| ends.iter().any(|end| rule.pattern.matches(&parts[..*end]));
        self.rules.iter().rev().find(matches).is_some_and(|rule| !rule.kept)
    }

    /// Whether something below an excluded folder may be seen all the same.
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.kept)
    }
}

/// As Go cleans paths, without a leading slash.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            // Nothing that a context has lies above it.
            ".." if parts.last().is_none_or(|last| *last == "..") && !pattern.starts_with('/') => parts.push(part),
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    // Behind anything but the end it stands for whole folders, as if a slash followed.
                    let slash = chars.next_if_eq(&'/').is_some();
                    if slash || chars.peek().is_some() { Token::Folders } else { Token::All }
                }
                '*' => Token::Some,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().ok_or_else(|| format!("the pattern {text:?} ends with \\"))?),
                '[' => class(&mut chars).ok_or_else(|| format!("the pattern {text:?} has a [ that is malformed"))?,
                c => Token::Char(c),
            });
        }
        Ok(Pattern(tokens))
    }

    /// Whether there is anything but plain characters in it.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|token| matches!(token, Token::Char(_)))
    }

    /// Whether it matches the whole text. Follows all ways at once, so no pattern takes long.
    pub(super) fn matches(&self, text: &[char]) -> bool {
        let mut now = Ways::new(&self.0);
        now.reach(&self.0, 0);
        for c in text {
            let mut next = Ways::new(&self.0);
            for (at, token) in self.0.iter().enumerate() {
                if now.within[at] {
                    next.within[at] = true;
                    if *c == '/' {
                        next.reach(&self.0, at + 1);
                    }
                }
                let goes_on = match token {
                    Token::Char(expected) => expected == c,
                    Token::One => *c != '/',
                    Token::Class { inverted, ranges } => {
                        let within = ranges.iter().any(|(first, last)| (first..=last).contains(&c));
                        *c != '/' && within != *inverted
                    }
                    Token::Some | Token::All | Token::Folders => false,
                };
                if now.reached[at] && goes_on {
                    next.reach(&self.0, at + 1);
                }
                if now.reached[at] && (*token == Token::All || (*token == Token::Some && *c != '/')) {
                    next.reach(&self.0, at);
                }
            }
            now = next;
        }
        now.reached[self.0.len()]
    }
}

/// How far the ways through a pattern have come.
struct Ways {
    reached: Vec<bool>,
    /// Within the folders of a `**/`.
    within: Vec<bool>,
}

impl Ways {
    fn new(tokens: &[Token]) -> Ways {
        Ways { reached: vec![false; tokens.len() + 1], within: vec![false; tokens.len() + 1] }
    }

    /// Reaches a position, and those behind it that are reached by matching nothing.
    fn reach(&mut self, tokens: &[Token], from: usize) {
        for at in from..=tokens.len() {
            self.reached[at] = true;
            match tokens.get(at) {
                Some(Token::Folders) => self.within[at] = true,
                Some(Token::Some | Token::All) => {}
                _ => break,
            }
        }
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let inverted = chars.next_if(|c| *c == '^' || *c == '!').is_some();
    let mut ranges = Vec::new();
    loop {
        let mut one = || match chars.next()? {
            '\\' => chars.next().map(|c| (c, true)),
            c => Some((c, false)),
        };
        let (first, escaped) = one()?;
        if first == ']' && !escaped && !ranges.is_empty() {
            return Some(Token::Class { inverted, ranges });
        }
        let last = if chars.next_if_eq(&'-').is_some() {
            match chars.next()? {
                '\\' => chars.next()?,
                c => c,
            }
        } else {
            first
        };
        ranges.push((first, last));
    }
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
        fn no_text_makes_it_panic(rules in r"[\[\]\\*?!#a/\-.\n]{0,30}", path in "[ab/]{1,10}") {
            if let Ok(ignore) = Ignore::parse(&rules) {
                ignore.excludes(Path::new(&path));
            }
        }
    }
}
