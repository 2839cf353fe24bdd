//! Reads one map of a settled model, key by key, and gathers what is wrong with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::spec::diagnostic::{Diagnostic, Location, SpecError};
use crate::spec::tree::{Entry, Mapping, Node, Value};
use crate::values::duration;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Faults(RefCell<Vec<Diagnostic>>);

impl Faults {
    /// The value, if nothing was wrong.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, SpecError> {
        let faults = self.0.into_inner();
        if faults.is_empty() { Ok(value) } else { Err(SpecError(faults)) }
    }
}

/// One map.
pub(super) struct Reader<'a> {
    path: String,
    at: &'a Location,
    map: &'a Mapping,
    faults: &'a Faults,
}

impl<'a> Reader<'a> {
    /// The map of an entry, called `path` in messages; none if it is no map.
    pub(super) fn new(path: String, entry: &'a Entry, faults: &'a Faults) -> Option<Reader<'a>> {
        Some(Reader { path, at: &entry.key_at, map: entry.node.as_mapping()?, faults })
    }

    /// Where it stands.
    pub(super) fn at(&self) -> Location {
        self.at.clone()
    }

    /// Says what is wrong at a place.
    pub(super) fn fault(&self, at: &Location, message: impl Display) {
        self.faults.0.borrow_mut().push(Diagnostic::error(at, format!("{}: {message}", self.path)));
    }

    /// What stands under a key, unless it is null.
    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        self.map.get(key).filter(|node| !node.is_null())
    }

    /// Whether the key is there and not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys()
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.node(key).and_then(Node::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A text that is not empty, as what it means.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, key: &str) -> Option<T> {
        let node = self.node(key)?;
        self.parse_node(key, node)
    }

    /// The same of a node, which `key` names in messages.
    pub(super) fn parse_node<T: FromStr<Err: Display>>(&self, key: &str, node: &Node) -> Option<T> {
        let text = node.as_str().filter(|text| !text.is_empty())?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                let why = why.to_string();
                let text = if why.contains(text) { String::new() } else { format!(" {text:?}:") };
                self.fault(&node.at, format!("{key}:{text} {why}"));
                None
            }
        }
    }

    /// False unless it is true.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.maybe_flag(key).unwrap_or(false)
    }

    /// True, false or nothing.
    pub(super) fn maybe_flag(&self, key: &str) -> Option<bool> {
        match self.node(key)?.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// An integer that fits; sizes, which are text, too. Zero is as good as absent.
    pub(super) fn number<T: TryFrom<i128>>(&self, key: &str) -> Option<T> {
        self.exact_number(key, |number| number != 0)
    }

    /// An integer that fits, zero too.
    pub(super) fn count<T: TryFrom<i128>>(&self, key: &str) -> Option<T> {
        self.exact_number(key, |_| true)
    }

    fn exact_number<T: TryFrom<i128>>(&self, key: &str, counts: impl Fn(i128) -> bool) -> Option<T> {
        let node = self.node(key)?;
        let number = match &node.value {
            Value::Int(number) => *number,
            Value::String(text) => text.parse().ok()?,
            _ => return None,
        };
        if !counts(number) {
            return None;
        }
        let fits = T::try_from(number).ok();
        if fits.is_none() {
            self.fault(&node.at, format!("{key}: {number} is out of range"));
        }
        fits
    }

    /// A number with a fraction; zero is as good as absent.
    pub(super) fn fraction(&self, key: &str) -> Option<f64> {
        match self.node(key)?.value {
            Value::Float(number) if number != 0.0 => Some(number),
            _ => None,
        }
    }

    /// A duration.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        let node = self.node(key)?;
        match duration::parse(node.as_str()?) {
            Ok(duration) => Some(duration),
            Err(_) => {
                self.fault(&node.at, format!("{key}: a duration may not be negative"));
                None
            }
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        self.items(key).filter_map(Node::as_str).map(str::to_owned).collect()
    }

    /// A list of texts, as what they mean.
    pub(super) fn parse_all<T: FromStr<Err: Display>>(&self, key: &str) -> Vec<T> {
        self.items(key).filter_map(|node| self.parse_node(key, node)).collect()
    }

    /// An argument list; none where there is none, which is not the same as an empty one.
    pub(super) fn arguments(&self, key: &str) -> Option<Vec<String>> {
        self.has(key).then(|| self.texts(key))
    }

    /// The items of a list.
    pub(super) fn items(&self, key: &str) -> impl Iterator<Item = &'a Node> {
        self.map.get(key).and_then(Node::as_sequence).unwrap_or_default().iter()
    }

    /// A map of texts.
    pub(super) fn map(&self, key: &str) -> BTreeMap<String, String> {
        self.maybe_map(key).into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
    }

    /// A map of texts and nulls.
    pub(super) fn maybe_map(&self, key: &str) -> BTreeMap<String, Option<String>> {
        let map = self.map.get(key).and_then(Node::as_mapping);
        let entries = map.into_iter().flat_map(Mapping::iter);
        entries.map(|(key, entry)| (key.to_owned(), entry.node.as_str().map(str::to_owned))).collect()
    }

    /// The map under a key.
    pub(super) fn object(&self, key: &str) -> Option<Reader<'a>> {
        Reader::new(format!("{}.{key}", self.path), self.map.entry(key)?, self.faults)
    }

    /// The maps of a map, with their keys; one that is null counts as empty.
    pub(super) fn children(&self, key: &str) -> Vec<(&'a str, Option<Reader<'a>>)> {
        let Some(map) = self.map.get(key).and_then(Node::as_mapping) else { return Vec::new() };
        let child = |(name, entry): (&'a str, &'a Entry)| {
            (name, Reader::new(format!("{}.{key}.{name}", self.path), entry, self.faults))
        };
        map.iter().map(child).collect()
    }

    /// The maps of a list.
    pub(super) fn objects(&self, key: &str) -> Vec<Reader<'a>> {
        let object = |(n, node): (usize, &'a Node)| {
            let path = format!("{}.{key}[{n}]", self.path);
            Some(Reader { path, at: &node.at, map: node.as_mapping()?, faults: self.faults })
        };
        self.items(key).enumerate().filter_map(object).collect()
    }
}
