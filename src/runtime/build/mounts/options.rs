//! `type=cache,target=/x,ro`: the options of a mount, each taken once.

use crate::runtime::build::instruction::guess;
use crate::runtime::build::mounts::{Access, Need, Owner};
use crate::runtime::build::state::State;
use crate::values::byte_size;

/// Options that nobody has taken yet.
pub(super) struct Options {
    kind: String,
    left: Vec<(String, Option<String>)>,
}

impl Options {
    /// Reads them and replaces variables.
    pub(super) fn parse(text: &str, state: &State, escape: char) -> Result<Options, String> {
        let mut options = Options { kind: "bind".to_owned(), left: Vec::new() };
        for field in text.split(',').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').map_or((field, None), |(name, value)| (name, Some(value)));
            let name = name.trim().to_ascii_lowercase();
            if matches!(name.as_str(), "from" | "type") && value.is_some_and(|value| value.contains('$')) {
                return Err(format!("{name} of a mount knows no variables"));
            }
            let value = value.map(|value| state.word(value, escape)).transpose()?;
            match (name.as_str(), value) {
                ("type", Some(kind)) => options.kind = kind.to_ascii_lowercase(),
                (_, value) => options.left.push((name, value)),
            }
        }
        Ok(options)
    }

    /// `bind`, `cache`, …
    pub(super) fn kind(&self) -> &str {
        // Compared, and shown where it is none of them.
        &self.kind
    }

    /// The value of an option that has one of these names.
    pub(super) fn text(&mut self, names: &[&str]) -> Option<String> {
        self.take(names)?.filter(|value| !value.is_empty())
    }

    /// The same, leaving it.
    pub(super) fn peek(&self, names: &[&str]) -> Option<String> {
        self.left.iter().find(|(name, _)| names.contains(&name.as_str()))?.1.clone()
    }

    fn take(&mut self, names: &[&str]) -> Option<Option<String>> {
        let at = self.left.iter().position(|(name, _)| names.contains(&name.as_str()))?;
        Some(self.left.remove(at).1)
    }

    fn switch(&mut self, names: &[&str]) -> Result<Option<bool>, String> {
        match self.take(names) {
            None => Ok(None),
            Some(None) => Ok(Some(true)),
            Some(Some(text)) => match text.as_str() {
                "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                _ => Err(format!("{} of a mount is true or false, not {text:?}", names[0])),
            },
        }
    }

    /// What may be done with it.
    pub(super) fn access(&mut self, default: Access) -> Result<Access, String> {
        let read_only = self.switch(&["readonly", "ro"])?;
        let writable = self.switch(&["rw", "readwrite"])?;
        Ok(match (read_only, writable) {
            (Some(true), _) | (None, Some(false)) => Access::ReadOnly,
            (Some(false), _) | (None, Some(true)) => Access::Writable,
            (None, None) => default,
        })
    }

    /// Whether it has to be there.
    pub(super) fn need(&mut self) -> Result<Need, String> {
        Ok(if self.switch(&["required"])? == Some(true) { Need::Required } else { Need::Optional })
    }

    /// `uid`, `gid` and `mode`.
    pub(super) fn owner(&mut self) -> Result<Owner, String> {
        let mut number = |name: &str| {
            let wrong = |text: &str| format!("{name} of a mount is a number, not {text:?}");
            self.text(&[name]).map(|text| text.parse().map_err(|_| wrong(&text))).transpose()
        };
        let (uid, gid) = (number("uid")?, number("gid")?);
        let octal = |text: String| {
            let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
            mode.ok_or_else(|| format!("the mode of a mount is an octal number, not {text:?}"))
        };
        Ok(Owner { uid, gid, mode: self.text(&["mode"]).map(octal).transpose()? })
    }

    /// Bytes.
    pub(super) fn size(&mut self) -> Result<Option<u64>, String> {
        let Some(text) = self.text(&["size"]) else { return Ok(None) };
        let size = byte_size::parse(&text).map_err(|error| error.to_string())?;
        u64::try_from(size).map(Some).map_err(|_| format!("the size of a mount can't be {text:?}"))
    }

    /// Whether all of them were known.
    pub(super) fn finish(self) -> Result<(), String> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let known = [
            "type", "target", "source", "from", "readonly", "rw", "id", "sharing", "mode", "uid", "gid", "size",
            "required", "env",
        ];
        let guess = match guess(name, &known) {
            Some(guess) if guess != name => format!(" (did you mean {guess}?)"),
            _ => String::new(),
        };
        Err(format!("a mount of type {} has no option {name}{guess}", self.kind))
    }
}
