//! `--chmod`: permission bits as a number (`755`), or in words (`u=rwX,go=rX`, chmod(1)).

/// New permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chmod {
    /// All of them.
    Bits(u32),
    /// Changes, one after the other.
    Changes(Vec<Change>),
}

/// `go-w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// Read, write and execute bits of those it is about.
    who: u32,
    operator: Operator,
    /// Read, write and execute, for everybody.
    bits: u32,
    /// `X`: execution, if it is a folder or somebody may execute it already.
    search: bool,
    /// Set-user-id, set-group-id, sticky.
    special: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

/// The text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--chmod takes an octal number such as 755, or changes such as u=rwX,go=rX, not {0:?}")]
pub(super) struct InvalidMode(String);

impl Chmod {
    /// The permission bits of a file that has `mode`.
    pub(super) fn apply(&self, mode: u32, folder: bool) -> u32 {
        match self {
            Chmod::Bits(bits) => *bits,
            Chmod::Changes(changes) => changes.iter().fold(mode & 0o7777, |mode, change| change.apply(mode, folder)),
        }
    }
}

impl Change {
    fn apply(&self, mode: u32, folder: bool) -> u32 {
        let search = if self.search && (folder || mode & 0o111 != 0) { 0o111 } else { 0 };
        let bits = ((self.bits | search) & self.who) | self.special;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => {
                let special =
                    if self.who & 0o700 != 0 { 0o4000 } else { 0 } | if self.who & 0o070 != 0 { 0o2000 } else { 0 };
                (mode & !self.who & !special) | bits
            }
        }
    }
}

impl std::str::FromStr for Chmod {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Chmod, InvalidMode> {
        let wrong = || InvalidMode(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return bits.map(Chmod::Bits).ok_or_else(wrong);
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            let start = clause.find(['+', '-', '=']).ok_or_else(wrong)?;
            let (names, mut actions) = clause.split_at(start);
            let mut who = 0;
            for name in names.chars() {
                who |= match name {
                    'u' => 0o700,
                    'g' => 0o070,
                    'o' => 0o007,
                    'a' => 0o777,
                    _ => return Err(wrong()),
                };
            }
            let who = if who == 0 { 0o777 } else { who };
            while let Some(sign) = actions.chars().next() {
                let operator = match sign {
                    '+' => Operator::Add,
                    '-' => Operator::Remove,
                    '=' => Operator::Set,
                    _ => return Err(wrong()),
                };
                let rest = &actions[1..];
                let (letters, after) = rest.split_at(rest.find(['+', '-', '=']).unwrap_or(rest.len()));
                actions = after;
                let mut change = Change { who, operator, bits: 0, search: false, special: 0 };
                for letter in letters.chars() {
                    match letter {
                        'r' => change.bits |= 0o444,
                        'w' => change.bits |= 0o222,
                        'x' => change.bits |= 0o111,
                        'X' => change.search = true,
                        's' => {
                            change.special |= if who & 0o700 != 0 { 0o4000 } else { 0 };
                            change.special |= if who & 0o070 != 0 { 0o2000 } else { 0 };
                        }
                        't' => change.special |= 0o1000,
                        _ => return Err(wrong()),
                    }
                }
                changes.push(change);
            }
        }
        Ok(Chmod::Changes(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_numbers_or_changes_of_what_there_is() {
        for (text, mode, folder, expected) in [
            ("755", 0o600, false, 0o755),
            ("4755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("go-rwx", 0o777, false, 0o700),
            ("a=r,u+w", 0o777, false, 0o644),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
            ("g=", 0o775, false, 0o705),
            ("u+r-w", 0o200, false, 0o400),
        ] {
            assert_eq!(text.parse::<Chmod>().unwrap().apply(mode, folder), expected, "{text}");
        }
        for wrong in ["", "x", "888", "u", "z=r", "u=q", "u=r,", "77777"] {
            assert!(wrong.parse::<Chmod>().is_err(), "{wrong}");
        }
    }
}
