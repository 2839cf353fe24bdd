//! `command: echo "a b"`: how Docker Compose splits a line into arguments.
//!
//! It is no shell: quotes and backslashes work, variables and patterns do not, `` `…` `` and `$(…)` stay in one piece as
//! they are. What comes after an unquoted `; & | < >` is dropped without a word by Docker Compose; here a warning tells.

/// Why a line is no list of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::spec) enum InvalidCommand {
    /// A quote, a backslash or a parenthesis has nothing to end it.
    #[error("a quote, a backslash or a parenthesis is not closed")]
    Unclosed,
    /// A parenthesis that is not quoted and not `$(`.
    #[error("a parenthesis must be quoted")]
    Parenthesis,
}

/// What is between two quotes of some kind.
#[derive(PartialEq, Eq)]
enum Within {
    Nothing,
    Single,
    Double,
    Backtick,
    Dollar,
}

/// Splits a line into arguments.
pub(in crate::spec) fn split(line: &str) -> Result<Vec<String>, InvalidCommand> {
    let mut words = Vec::new();
    // A word that has begun may be empty: `''`.
    let (mut word, mut begun) = (String::new(), false);
    let mut within = Within::Nothing;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, &within) {
            ('\\', Within::Single) => {
                word.push('\\');
                begun = true;
            }
            ('\\', _) => {
                word.push(letters.next().ok_or(InvalidCommand::Unclosed)?);
                begun = true;
            }
            (' ' | '\t' | '\r' | '\n', Within::Nothing) => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            ('"', Within::Nothing) => within = Within::Double,
            ('\'', Within::Nothing) => within = Within::Single,
            ('"', Within::Double) | ('\'', Within::Single) => {
                within = Within::Nothing;
                begun = true;
            }
            ('>', Within::Nothing) if word.starts_with(|c: char| c.is_ascii_digit()) => {
                begun = false;
                break;
            }
            (';' | '&' | '|' | '<' | '>', Within::Nothing) => break,
            ('(', Within::Nothing) if !word.ends_with('$') => return Err(InvalidCommand::Parenthesis),
            ('(', Within::Dollar) => return Err(InvalidCommand::Parenthesis),
            (')', Within::Nothing) => return Err(InvalidCommand::Unclosed),
            _ => {
                match (letter, &within) {
                    ('(', Within::Nothing) => within = Within::Dollar,
                    (')', Within::Dollar) | ('`', Within::Backtick) => within = Within::Nothing,
                    ('`', Within::Nothing) => within = Within::Backtick,
                    _ => {}
                }
                word.push(letter);
                begun = true;
            }
        }
    }
    if within != Within::Nothing {
        return Err(InvalidCommand::Unclosed);
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        for (line, words) in [
            (r#"a "b c" 'd e' f\ g"#, vec!["a", "b c", "d e", "f g"]),
            (r#""a 'b' \"c\" \d""#, vec!["a 'b' \"c\" d"]),
            (r"'a\b'", vec![r"a\b"]),
            ("a '' b", vec!["a", "", "b"]),
            ("x'a'y", vec!["xay"]),
            ("  \t\n", vec![]),
            ("a # b", vec!["a", "#", "b"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn substitutions_stay_as_they_are_in_one_word() {
        assert_eq!(split("`ls -l` $(foo \"b c\") x").unwrap(), ["`ls -l`", "$(foo \"b c\")", "x"]);
        assert_eq!(split("a$(b c)d").unwrap(), ["a$(b c)d"]);
    }

    #[test]
    fn an_operator_of_the_shell_ends_the_line() {
        assert_eq!(split("echo a && echo b").unwrap(), ["echo", "a"]);
        assert_eq!(split("a 2>&1").unwrap(), ["a"]);
        assert_eq!(split("a2>b").unwrap(), ["a2"]);
        assert_eq!(split("2>b").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for line in ["a 'b", "a \"b", "a\\", "$(a", "a)", "`a"] {
            assert_eq!(split(line), Err(InvalidCommand::Unclosed), "{line}");
        }
        for line in ["(a)", "a (b)", "a=(b)", "$(a (b))"] {
            assert_eq!(split(line), Err(InvalidCommand::Parenthesis), "{line}");
        }
    }
}
