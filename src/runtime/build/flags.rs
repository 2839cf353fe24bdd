//! The flags of an instruction (`--name=value` before its arguments), checked against those it has.

use crate::runtime::build::dockerfile::{DockerfileError, Raw};
use crate::runtime::build::instruction::guess;

/// Flags in the order in which they were written.
pub(super) struct Flags<'a> {
    raw: &'a Raw<'a>,
    given: Vec<(String, String)>,
}

/// Takes the flags off the beginning of an instruction's arguments, their quotes away; returns the rest.
pub(super) fn split(mut rest: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    loop {
        rest = rest.trim();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let mut flag = String::new();
        let mut quote = None;
        let mut end = rest.len();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match quote {
                None if c.is_whitespace() => {
                    end = at;
                    break;
                }
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(quoted) if c == quoted => quote = None,
                _ if c == escape => flag.extend(chars.next().map(|(_, c)| c)),
                _ => flag.push(c),
            }
        }
        rest = &rest[end..];
        if flag == "--" {
            return (flags, rest.trim());
        }
        flags.push(flag);
    }
}

impl<'a> Flags<'a> {
    /// Reads them.
    pub(super) fn parse(raw: &'a Raw<'a>, keyword: &str) -> Result<Flags<'a>, DockerfileError> {
        let known: &[&str] = match keyword {
            "FROM" => &["platform"],
            "RUN" => &["mount", "network", "security"],
            "COPY" => &["from", "chown", "chmod", "link", "parents", "exclude"],
            "ADD" => &["chown", "chmod", "link", "exclude", "checksum", "keep-git-dir", "unpack"],
            "HEALTHCHECK" => &["interval", "timeout", "start-period", "start-interval", "retries"],
            _ => &[],
        };
        let mut flags = Flags { raw, given: Vec::new() };
        for flag in &raw.flags {
            let (name, value) = match flag[2..].split_once('=') {
                Some(parts) => parts,
                None if matches!(&flag[2..], "link" | "parents" | "keep-git-dir" | "unpack") => (&flag[2..], "true"),
                None => (&flag[2..], ""),
            };
            if !known.contains(&name) {
                let guess = guess(name, known).map_or_else(String::new, |guess| format!(" (did you mean --{guess}?)"));
                return Err(flags.wrong(name, format!("{keyword} has no flag --{name}{guess}")));
            }
            let repeats = matches!(name, "mount" | "exclude");
            if !repeats && flags.given.iter().any(|(other, _)| other == name) {
                return Err(flags.wrong(name, format!("--{name} is given twice")));
            }
            if value.is_empty() && name != "network" {
                return Err(flags.wrong(name, format!("--{name} needs a value")));
            }
            flags.given.push((name.to_owned(), value.to_owned()));
        }
        Ok(flags)
    }

    /// The value of a flag.
    pub(super) fn one(&self, name: &str) -> Option<String> {
        self.given.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }

    /// The values of a flag that may be repeated.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.given.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect()
    }

    /// A flag that is on, off, or not given.
    pub(super) fn switch(&self, name: &str) -> Result<Option<bool>, DockerfileError> {
        match self.one(name).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(self.wrong(name, format!("--{name} is true or false, not {other:?}"))),
        }
    }

    /// An error at a flag.
    pub(super) fn wrong(&self, name: &str, message: String) -> DockerfileError {
        self.raw.source.error(self.raw.line, self.raw.last, &format!("--{name}"), message)
    }
}
