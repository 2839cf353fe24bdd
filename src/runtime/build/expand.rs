//! Variables and quotes in the words of a Dockerfile (Dockerfile reference, "Environment replacement"; BuildKit's `shell` package).
//!
//! `$name`, `${name}`, `${name:-word}`, `${name:+word}`, `${name:?word}` and the same without colon, `${name#pattern}`, `##`, `%`, `%%`,
//! `${name/pattern/word}`, `//`. Single quotes keep everything, double quotes keep spaces; the escape character keeps the next one.

/// Looks up a variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces variables and takes quotes away.
pub(super) fn word(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expander = Expander { rest: text.chars().collect(), at: 0, escape, lookup, depth: 0 };
    expander.until(None)
}

/// Replaces variables, and leaves quotes alone (heredocs).
pub(super) fn document(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expander = Expander { rest: text.chars().collect(), at: 0, escape, lookup, depth: 0 };
    let mut out = String::new();
    while let Some(c) = expander.next() {
        match c {
            '$' => expander.variable(&mut out)?,
            c if c == escape => match expander.next() {
                Some(next) if next == '$' || next == escape => out.push(next),
                next => out.extend([Some(c), next].into_iter().flatten()),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Splits at spaces outside of quotes, leaving quotes and variables as they are.
pub(super) fn split(text: &str, escape: char) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => words.extend(current.take()),
            _ => {
                let word = current.get_or_insert_default();
                word.push(c);
                if c == escape && quote != Some('\'') {
                    word.extend(chars.next());
                } else if quote == Some(c) {
                    quote = None;
                } else if quote.is_none() && (c == '"' || c == '\'') {
                    quote = Some(c);
                }
            }
        }
    }
    if let Some(quote) = quote {
        return Err(format!("a quotation begins with {quote} and does not end"));
    }
    words.extend(current);
    Ok(words)
}

struct Expander<'a> {
    rest: Vec<char>,
    at: usize,
    escape: char,
    lookup: Lookup<'a>,
    depth: usize,
}

impl Expander<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    /// Up to and including `end`, or to the end of the text.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        self.depth += 1;
        if self.depth > 100 {
            return Err("it is nested too deep".to_owned());
        }
        let mut out = String::new();
        loop {
            match self.next() {
                None if end.is_none() => break,
                None => return Err("a substitution lacks its closing }".to_owned()),
                Some(c) if Some(c) == end => break,
                Some('\'') => loop {
                    match self.next() {
                        Some('\'') => break,
                        Some(c) => out.push(c),
                        None => return Err("a quotation begins with ' and does not end".to_owned()),
                    }
                },
                Some('"') => self.double_quoted(&mut out)?,
                Some('$') => self.variable(&mut out)?,
                Some(c) if c == self.escape => match self.next() {
                    Some(next) => out.push(next),
                    // At the very end it stands for itself.
                    None => out.push(c),
                },
                Some(c) => out.push(c),
            }
        }
        self.depth -= 1;
        Ok(out)
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.variable(out)?,
                Some(c) if c == self.escape => match self.next() {
                    Some(next @ ('"' | '$')) => out.push(next),
                    Some(next) if next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => return Err("a quotation begins with \" and does not end".to_owned()),
                },
                Some(c) => out.push(c),
                None => return Err("a quotation begins with \" and does not end".to_owned()),
            }
        }
    }

    fn variable(&mut self, out: &mut String) -> Result<(), String> {
        if self.peek() == Some('{') {
            self.next();
            let name = self.name();
            if name.is_empty() {
                return Err("a substitution ${…} names no variable".to_owned());
            }
            out.push_str(&self.braced(&name)?);
            return Ok(());
        }
        let name = self.name();
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(&(self.lookup)(&name).unwrap_or_default());
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let start = self.at;
        // A parameter of a shell script has one digit, and none has a value here.
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        } else {
            while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.at += 1;
            }
        }
        self.rest[start..self.at].iter().collect()
    }

    fn braced(&mut self, name: &str) -> Result<String, String> {
        let value = (self.lookup)(name);
        let unsupported = |operator: char| format!("${{{name}{operator}…}} is no substitution that is supported");
        match self.next() {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let operator = self.next().ok_or_else(|| unsupported(':'))?;
                self.default(name, value.filter(|value| !value.is_empty()), operator)
            }
            Some(operator @ ('-' | '+' | '?')) => self.default(name, value, operator),
            Some(operator @ ('#' | '%')) => {
                let greedy = self.peek() == Some(operator);
                self.at += usize::from(greedy);
                let pattern: Vec<char> = self.until(Some('}'))?.chars().collect();
                Ok(trim(&value.unwrap_or_default(), &pattern, operator == '#', greedy))
            }
            Some('/') => {
                let all = self.peek() == Some('/');
                self.at += usize::from(all);
                let pattern: Vec<char> = self.until(Some('/'))?.chars().collect();
                let replacement = self.until(Some('}'))?;
                Ok(replace(&value.unwrap_or_default(), &pattern, &replacement, all))
            }
            Some(other) => Err(unsupported(other)),
            None => Err("a substitution lacks its closing }".to_owned()),
        }
    }

    fn default(&mut self, name: &str, value: Option<String>, operator: char) -> Result<String, String> {
        let word = self.until(Some('}'))?;
        match (operator, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
            ('?', Some(value)) => Ok(value),
            ('?', None) if word.is_empty() => Err(format!("{name} is not set")),
            ('?', None) => Err(format!("{name}: {word}")),
            (other, _) => Err(format!("${{{name}:{other}…}} is no substitution that is supported")),
        }
    }
}

/// Whether a shell pattern (`*`, `?`, escaped characters) matches a whole text.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        ['?', rest @ ..] => !text.is_empty() && matches(rest, &text[1..]),
        ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && matches(rest, &text[1..]),
    }
}

fn trim(value: &str, pattern: &[char], prefix: bool, greedy: bool) -> String {
    let text: Vec<char> = value.chars().collect();
    let mut lengths: Vec<usize> = (0..=text.len()).collect();
    if greedy {
        lengths.reverse();
    }
    for length in lengths {
        let (part, rest) = if prefix { text.split_at(length) } else { text.split_at(text.len() - length) };
        let (part, rest) = if prefix { (part, rest) } else { (rest, part) };
        if matches(pattern, part) {
            return rest.iter().collect();
        }
    }
    value.to_owned()
}

fn replace(value: &str, pattern: &[char], replacement: &str, all: bool) -> String {
    let text: Vec<char> = value.chars().collect();
    let (mut out, mut at, mut done) = (String::new(), 0, false);
    while at < text.len() {
        let longest = (at + 1..=text.len()).rev().find(|end| matches(pattern, &text[at..*end]));
        match longest {
            Some(end) if !done => {
                out.push_str(replacement);
                at = end;
                done = !all;
            }
            _ => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        word(text, '\\', &|name| match name {
            "name" => Some("value".to_owned()),
            "empty" => Some(String::new()),
            "path" => Some("a/b/c.tar.gz".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn every_form_of_substitution() {
        for (text, expected) in [
            ("$name-${name}s", "value-values"),
            ("$nothing|${nothing}|", "||"),
            ("${nothing:-default} ${empty:-default} ${empty-default}|", "default default |"),
            ("${name:+yes}${nothing:+no}${empty+yes}${empty:+no}", "yesyes"),
            ("${nothing:-${name}}", "value"),
            (r#""$name  x" '$name' \$name"#, "value  x $name $name"),
            (r#""\"\$\\\n""#, r#""$\\n"#),
            ("${path#*/}|${path##*/}|${path%.*}|${path%%.*}", "b/c.tar.gz|c.tar.gz|a/b/c.tar|a/b/c"),
            ("${path/\\//_}|${path//[/]/_}|${path//a/}", "a_b/c.tar.gz|a/b/c.tar.gz|/b/c.tr.gz"),
            ("100$ $", "100$ $"),
            ("${name:?gone}", "value"),
            ("a\\", "a\\"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn documents_keep_their_quotes() {
        let lookup = |name: &str| (name == "a").then(|| "1".to_owned());
        assert_eq!(document(r#""$a" '$a' \$a \n ${b:-"x"}"#, '\\', &lookup).unwrap(), r#""1" '1' $a \n x"#);
    }

    #[test]
    fn what_does_not_end_is_an_error_with_a_reason() {
        for (text, reason) in [
            ("${name", "closing }"),
            ("${name:-x", "closing }"),
            ("'x", "does not end"),
            ("\"x", "does not end"),
            ("${}", "names no variable"),
            ("${name^}", "supported"),
            ("${nothing:?is needed}", "nothing: is needed"),
            (&"${x:-".repeat(200), "too deep"),
        ] {
            let error = expand(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn words_are_split_outside_of_quotes_only() {
        assert_eq!(split(r#"a=b "c d"='e  f' g\ h"#, '\\').unwrap(), ["a=b", r#""c d"='e  f'"#, r"g\ h"]);
        assert!(split("a 'b", '\\').is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[$\{\}:\-+?#%/'"\\a *]{0,40}"#) {
            let _ = expand(&text);
            let _ = split(&text, '`');
        }
    }
}
