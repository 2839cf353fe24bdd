//! `$NAME`, `${NAME}` and the operators, in one text. Pure: who calls says what a name stands for.
//!
//! The rules are Docker Compose's (v2.40), which differ from a shell's: a default is looked through even when it is not
//! needed (so that a fault in it is a fault), braces within it must balance or else the last `}` of the line ends it, and
//! it may not run over a line's end. `$$` is a dollar; a `$` before anything else is itself.

use std::ops::Range;

/// Defaults within defaults. No honest file has ten.
const DEPTH: usize = 64;

/// Why a text can't be substituted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::spec) enum Fault {
    /// `${}`, `${1}`, `${A`, `${A/x/y}`…
    #[error("invalid interpolation format")]
    Invalid {
        /// Where in the text, in bytes.
        at: usize,
    },
    /// `${NAME:?message}` and it is not there.
    #[error("required variable {name} is missing a value{}{message}", if message.is_empty() { "" } else { ": " })]
    Required {
        /// The variable.
        name: String,
        /// What the file has to say about it.
        message: String,
        /// Where in the text, in bytes.
        at: usize,
    },
    /// More than [`DEPTH`] defaults within each other.
    #[error("defaults are nested deeper than {DEPTH} levels")]
    Deep {
        /// Where in the text, in bytes.
        at: usize,
    },
}

impl Fault {
    /// Where in the text, in bytes.
    pub(in crate::spec) fn at(&self) -> usize {
        match self {
            Self::Invalid { at } | Self::Required { at, .. } | Self::Deep { at } => *at,
        }
    }
}

/// How a variable is used at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spec) struct Use {
    /// The variable.
    pub name: String,
    /// `-`, `:-`, `?`, `:?`, `+`, `:+` or nothing.
    pub operator: Option<Operator>,
    /// What follows the operator, as written.
    pub word: String,
    /// Where in the text, in bytes, from the `$` on.
    pub at: Range<usize>,
}

/// What to do when a variable is there, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) struct Operator {
    /// Which.
    pub kind: Kind,
    /// With a `:`, an empty value counts as none.
    pub empty_is_unset: bool,
}

/// The three operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) enum Kind {
    /// `-`: the word stands in for a missing value.
    Default,
    /// `?`: the word says why there must be a value.
    Required,
    /// `+`: the word stands instead of a value.
    Instead,
}

enum Piece {
    Text(Range<usize>),
    Dollar,
    Variable(Use, usize),
}

/// The text with every variable replaced. `unset` is told of each that has no value and no operator, and where.
pub(in crate::spec) fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str, usize),
) -> Result<String, Fault> {
    within(text, 0, DEPTH, lookup, unset)
}

/// `text` stands `from` bytes into the whole; `depth` more levels are allowed.
fn within(
    text: &str,
    from: usize,
    depth: usize,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str, usize),
) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut scanner = Scanner::new(text, from);
    while let Some(piece) = scanner.next()? {
        match piece {
            Piece::Text(range) => out.push_str(&text[range]),
            Piece::Dollar => out.push('$'),
            Piece::Variable(used, word_at) => {
                let Use { name, operator, word, at } = used;
                let value = lookup(&name);
                let Some(Operator { kind, empty_is_unset }) = operator else {
                    match value {
                        Some(value) => out.push_str(&value),
                        None => unset(&name, at.start),
                    }
                    continue;
                };
                let depth = depth.checked_sub(1).ok_or(Fault::Deep { at: at.start })?;
                let word = within(&word, word_at, depth, lookup, unset)?;
                let present = value.filter(|value| !(empty_is_unset && value.is_empty()));
                match (kind, present) {
                    (Kind::Default | Kind::Required, Some(value)) => out.push_str(&value),
                    (Kind::Default, None) | (Kind::Instead, Some(_)) => out.push_str(&word),
                    (Kind::Instead, None) => {}
                    (Kind::Required, None) => return Err(Fault::Required { name, message: word, at: at.start }),
                }
            }
        }
    }
    Ok(out)
}

/// Every variable that the text names, those within defaults too, in order. Stops at a fault.
pub(in crate::spec) fn variables(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    gather(text, 0, DEPTH, &mut found);
    found
}

fn gather(text: &str, from: usize, depth: usize, found: &mut Vec<Use>) {
    let mut scanner = Scanner::new(text, from);
    while let Ok(Some(piece)) = scanner.next() {
        if let Piece::Variable(used, word_at) = piece {
            let word = used.word.clone();
            found.push(used);
            if let (false, Some(depth)) = (word.is_empty(), depth.checked_sub(1)) {
                gather(&word, word_at, depth, found);
            }
        }
    }
}

struct Scanner<'t> {
    text: &'t str,
    /// Where the text begins in the whole, for faults.
    from: usize,
    at: usize,
    /// The end of the line last looked at, and the last `}` before it; kept, so that a long line is read once.
    line: (usize, Option<usize>),
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str, from: usize) -> Self {
        Self { text, from, at: 0, line: (0, None) }
    }

    fn next(&mut self) -> Result<Option<Piece>, Fault> {
        let (text, start) = (self.text, self.at);
        let rest = &text[start..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(dollar) = rest.find('$') else {
            self.at = text.len();
            return Ok(Some(Piece::Text(start..text.len())));
        };
        if dollar > 0 {
            self.at = start + dollar;
            return Ok(Some(Piece::Text(start..self.at)));
        }
        let after = &rest[1..];
        if after.starts_with('$') {
            self.at = start + 2;
            return Ok(Some(Piece::Dollar));
        }
        if let Some(braced) = after.strip_prefix('{') {
            return self.braced(braced, start).map(Some);
        }
        let name = name_of(after);
        self.at = start + 1 + name.len();
        if name.is_empty() {
            return Ok(Some(Piece::Dollar));
        }
        Ok(Some(Piece::Variable(
            Use {
                name: name.to_owned(),
                operator: None,
                word: String::new(),
                at: self.from + start..self.from + self.at,
            },
            self.from + self.at,
        )))
    }

    /// `braced` follows the `${` at `start`.
    fn braced(&mut self, braced: &str, start: usize) -> Result<Piece, Fault> {
        let invalid = Fault::Invalid { at: self.from + start };
        let name = name_of(braced);
        if name.is_empty() {
            return Err(invalid);
        }
        let used = |end: usize, operator, word: &str| Use {
            name: name.to_owned(),
            operator,
            word: word.to_owned(),
            at: self.from + start..self.from + end,
        };
        let after_name = start + 2 + name.len();
        let rest = &braced[name.len()..];
        if rest.starts_with('}') {
            let piece = Piece::Variable(used(after_name + 1, None, ""), self.from + after_name);
            self.at = after_name + 1;
            return Ok(piece);
        }
        let (empty_is_unset, rest) = match rest.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let kind = match rest.as_bytes().first() {
            Some(b'-') => Kind::Default,
            Some(b'?') => Kind::Required,
            Some(b'+') => Kind::Instead,
            Some(_) | None => return Err(invalid),
        };
        let word_at = after_name + usize::from(empty_is_unset) + 1;
        let last = self.last_brace(word_at).filter(|last| *last >= word_at).ok_or(invalid)?;
        let close = balanced(&self.text[word_at..=last]).map_or(last, |n| word_at + n);
        let operator = Some(Operator { kind, empty_is_unset });
        let used = Use {
            name: name.to_owned(),
            operator,
            word: self.text[word_at..close].to_owned(),
            at: self.from + start..self.from + close + 1,
        };
        self.at = close + 1;
        Ok(Piece::Variable(used, self.from + word_at))
    }

    /// The last `}` on the line of `at`.
    fn last_brace(&mut self, at: usize) -> Option<usize> {
        if at >= self.line.0 {
            let end = self.text[at..].find('\n').map_or(self.text.len(), |n| at + n);
            self.line = (end.max(at + 1), self.text[at..end].rfind('}').map(|n| at + n));
        }
        self.line.1
    }
}

/// The `}` that closes a brace opened just before the text. As Docker Compose counts, what follows a `{` at once is neither.
fn balanced(text: &str) -> Option<usize> {
    let mut open = 1usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' => {
                open += 1;
                bytes.next();
            }
            b'}' if open == 1 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The name at the beginning: a letter or `_`, then letters, digits, `_`.
fn name_of(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("v".into()),
            "EMPTY" => Some(String::new()),
            "B" => Some("bee".into()),
            _ => None,
        }
    }

    fn run(text: &str) -> Result<String, Fault> {
        substitute(text, &lookup, &mut |_, _| {})
    }

    #[test]
    fn each_operator_knows_unset_from_empty() {
        for (text, value) in [
            ("$SET ${SET} $NONE ${NONE}", "v v  "),
            ("${NONE:-d} ${EMPTY:-d} ${SET:-d}", "d d v"),
            ("${NONE-d} ${EMPTY-d} ${SET-d}", "d  v"),
            ("${NONE:+r} ${EMPTY:+r} ${SET:+r}", "  r"),
            ("${NONE+r} ${EMPTY+r} ${SET+r}", " r r"),
            ("${EMPTY?m} ${SET:?m}", " v"),
            ("${NONE:-} ${NONE-} ${SET+}", "  "),
        ] {
            assert_eq!(run(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn only_the_first_operator_counts() {
        assert_eq!(run("${NONE-a:-b}${SET-a-b:?c}${NONE:-a?b}").unwrap(), "a:-bva?b");
    }

    #[test]
    fn words_nest_and_their_braces_balance() {
        for (text, value) in [
            ("${NONE:-${X:-${Y:-deep ${B}}}}!", "deep bee!"),
            ("${NONE:-{\"a\":{\"b\":1}}}", "{\"a\":{\"b\":1}}"),
            ("${SET:-{a}}", "v"),
            ("${NONE:-a}b}", "ab}"),
            ("${NONE:-{a}", "{a"),
            ("${NONE:-{{.Name}}}", "{{.Name}}"),
            ("${NONE:-$${SET}}", "${SET}"),
            ("$${NONE:-${B}}", "${NONE:-bee}"),
            ("${NONE:-x} $ {y} ${B}", "x $ {y} bee"),
        ] {
            assert_eq!(run(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn a_dollar_before_anything_else_is_itself() {
        assert_eq!(run("$$X $1 $(x) a$ $").unwrap(), "$X $1 $(x) a$ $");
        assert_eq!(run("$SET.x$B}").unwrap(), "v.xbee}");
    }

    #[test]
    fn what_is_no_expression_is_a_fault_with_its_place() {
        for text in [
            "${}",
            "${ SET}",
            "${SET }",
            "${1}",
            "${SET",
            "${SET.x}",
            "${SET:x}",
            "${SET:=x}",
            "${NONE:-a\nb}",
            "${NONE:-{}}|${NONE-}",
            "${SET:-${1}}",
        ] {
            let at = text.rfind("${").unwrap();
            assert_eq!(run(text), Err(Fault::Invalid { at }), "{text}");
        }
    }

    #[test]
    fn a_missing_required_variable_says_the_message_of_the_file() {
        let fault = run("a ${NONE:?set ${B}}").unwrap_err();
        assert_eq!(fault.to_string(), "required variable NONE is missing a value: set bee");
        assert_eq!(fault.at(), 2);
        assert_eq!(run("${EMPTY:?}").unwrap_err().to_string(), "required variable EMPTY is missing a value");
    }

    #[test]
    fn an_unset_variable_is_told_with_its_place_even_within_a_word() {
        let mut told = Vec::new();
        substitute("x${SET:-$NONE} $GONE", &lookup, &mut |name, at| told.push((name.to_owned(), at))).unwrap();
        assert_eq!(told, [("NONE".to_owned(), 8), ("GONE".to_owned(), 15)]);
    }

    #[test]
    fn ten_thousand_levels_are_refused_and_ten_thousand_variables_are_not() {
        let deep = "${A-".repeat(10_000) + &"}".repeat(10_000);
        assert!(matches!(run(&deep), Err(Fault::Deep { .. })));
        assert_eq!(run(&"${A-x}".repeat(10_000)).unwrap().len(), 10_000);
    }

    #[test]
    fn variables_are_listed_with_those_in_words() {
        let names: Vec<String> = variables("$SET ${A:-${B}} $$C").into_iter().map(|used| used.name).collect();
        assert_eq!(names, ["SET", "A", "B"]);
    }

    proptest! {
        #[test]
        fn a_text_whose_dollars_are_doubled_comes_back(text in "\\PC*") {
            prop_assert_eq!(run(&text.replace('$', "$$")).unwrap(), text);
        }

        #[test]
        fn no_text_panics(text in "[$ {}A-B:+?\n-]{0,40}") {
            let _ = run(&text);
            variables(&text);
        }

        #[test]
        fn a_default_is_what_stands_for_an_unset_variable(word in "[a-z ?+:-]*") {
            prop_assert_eq!(run(&format!("<${{NONE-{word}}}>")).unwrap(), format!("<{word}>"));
            prop_assert_eq!(run(&format!("<${{SET:-{word}}}>")).unwrap(), "<v>");
        }
    }
}
