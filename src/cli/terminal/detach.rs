//! The keys with which a user leaves a container running (`--detach-keys`).

use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Docker's.
const DEFAULT: &str = "ctrl-p,ctrl-q";

/// A sequence of keys, and how much of it has been typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    sequence: Vec<u8>,
    typed: usize,
}

impl Keys {
    /// Those given with the command, else those of Docker's configuration, else Docker's own.
    pub fn chosen(given: Option<String>, context: &Context<'_>) -> Result<Keys, Failure> {
        let keys = given.or_else(|| context.preference("detachKeys"));
        Keys::parse(keys.as_deref().unwrap_or(DEFAULT))
    }

    /// From `a,ctrl-b,…`; nothing is a sequence that can't be typed.
    pub fn parse(text: &str) -> Result<Keys, Failure> {
        let wrong = |key: &str| Failure::usage(format!("invalid detach keys ({text}): Unknown character: '{key}'"));
        let key = |key: &str| -> Result<u8, Failure> {
            match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
                ([plain], _) => Ok(*plain),
                (_, Some([letter @ (b'a'..=b'z' | b'A'..=b'Z')])) => Ok(letter.to_ascii_lowercase() - b'a' + 1),
                (_, Some([mark @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => Ok(mark - b'@'),
                _ => Err(wrong(key)),
            }
        };
        let keys = text.split(',').filter(|_| !text.is_empty()).map(key);
        Ok(Keys { sequence: keys.collect::<Result<_, _>>()?, typed: 0 })
    }

    /// What of this input goes on, and whether the sequence is complete. Its beginning is held back until it is clear that
    /// it is none.
    pub fn pass(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(input.len());
        for byte in input {
            if self.sequence.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.sequence.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend(&self.sequence[..self.typed]);
            self.typed = usize::from(self.sequence.first() == Some(byte));
            if self.typed == 0 {
                out.push(*byte);
            } else if self.sequence.len() == 1 {
                return (out, true);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_letters_and_control_letters() {
        assert_eq!(Keys::parse("ctrl-p,ctrl-q").unwrap().sequence, [16, 17]);
        assert_eq!(Keys::parse("a,ctrl-[,ctrl-@").unwrap().sequence, [b'a', 27, 0]);
        assert!(Keys::parse("").unwrap().sequence.is_empty());
        assert!(Keys::parse("ctrl-pp").is_err() && Keys::parse("ab").is_err() && Keys::parse("a,").is_err());
    }

    #[test]
    fn a_sequence_ends_and_what_only_begins_like_it_goes_on() {
        let mut keys = Keys::parse("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys.pass(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.pass(b"b\x10\x10"), (b"\x10b\x10".to_vec(), false));
        assert_eq!(keys.pass(b"\x11rest"), (Vec::new(), true));
        assert_eq!(Keys::parse("").unwrap().pass(b"abc"), (b"abc".to_vec(), false));
        assert_eq!(Keys::parse("a").unwrap().pass(b"xab"), (b"x".to_vec(), true));
    }
}
