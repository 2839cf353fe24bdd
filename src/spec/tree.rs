//! YAML as a tree that knows where each value was written.
//!
//! Scalars are resolved as Docker Compose's YAML library resolves them (`yes` is a string, `0440` and `0o17` are integers),
//! anchors and merge keys are expanded, duplicate and non-string keys are refused. `!reset` and `!override` stay on the
//! node as [`Tag`]. Mappings keep the order of the text. A value that came out of another (interpolated, merged, put in
//! its long form) keeps the [`Location`] of what it came from, so every later complaint can point at the text.

mod collections;
mod properties;
mod scalar;
mod scalars;
mod scanner;
mod yaml;

pub use yaml::parse;

use std::fmt;

use indexmap::IndexMap;

use super::diagnostic::Location;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub at: Location,
    /// A tag that means something to the merge.
    pub tag: Option<Tag>,
}

/// A value of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`; nothing else.
    Bool(bool),
    /// Any whole number of 64 bits, signed or unsigned.
    Int(i128),
    /// A number with a point or an exponent, `.inf`, `.nan`, or an integer past 64 bits.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// A map, in the order of the text.
    Mapping(Mapping),
}

/// What `!reset` and `!override` ask of the merge (compose-spec, "Fragments": reset value, replace value).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// The key goes, here and in what was merged before.
    Reset,
    /// What was merged before goes; this value stands as it is.
    Override,
}

/// What stands under a key, and where the key itself was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where the key was written.
    pub key_at: Location,
    /// What it holds.
    pub node: Node,
}

/// A map with string keys, in the order of the text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping(IndexMap<String, Entry>);

impl Mapping {
    /// What stands under `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|entry| &entry.node)
    }

    /// What stands under `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.get_mut(key).map(|entry| &mut entry.node)
    }

    /// Key's place and value.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    /// Whether there is such a key (even if it holds null).
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Sets `key`, in its old place if it had one; gives back what was there.
    pub fn insert(&mut self, key: impl Into<String>, key_at: Location, node: Node) -> Option<Entry> {
        self.0.insert(key.into(), Entry { key_at, node })
    }

    /// Takes `key` out, keeping the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        self.0.shift_remove(key)
    }

    /// Keeps the entries that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Entry) -> bool) {
        self.0.retain(|key, entry| keep(key, entry));
    }

    /// Keys with their places and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// Keys with their places and values, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Entry)> {
        self.0.iter_mut().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sorts by key, as Go prints a map.
    pub fn sort(&mut self) {
        self.0.sort_unstable_keys();
    }
}

impl IntoIterator for Mapping {
    type Item = (String, Entry);
    type IntoIter = indexmap::map::IntoIter<String, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(String, Entry)> for Mapping {
    fn from_iter<T: IntoIterator<Item = (String, Entry)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl Node {
    /// A value that was written at `at`, or came of what was.
    pub fn new(at: &Location, value: Value) -> Self {
        Self { value, at: at.clone(), tag: None }
    }

    /// A text that was written at `at`, or came of what was.
    pub fn string(at: &Location, text: impl Into<String>) -> Self {
        Self::new(at, Value::String(text.into()))
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = &self.value { Some(text) } else { None }
    }

    /// The map, if it is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        if let Value::Mapping(map) = &self.value { Some(map) } else { None }
    }

    /// The map, if it is one, to be changed.
    pub fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        if let Value::Mapping(map) = &mut self.value { Some(map) } else { None }
    }

    /// The list, if it is one.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        if let Value::Sequence(list) = &self.value { Some(list) } else { None }
    }

    /// The list, if it is one, to be changed.
    pub fn as_sequence_mut(&mut self) -> Option<&mut Vec<Node>> {
        if let Value::Sequence(list) = &mut self.value { Some(list) } else { None }
    }

    /// Whether both hold the same, wherever they were written and in whatever order their keys are.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Sequence(a), Value::Sequence(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Value::Mapping(a), Value::Mapping(b)) => {
                a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| a.node.same(b)))
            }
            (a, b) => a == b,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What stands under `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    /// A scalar as Go's `fmt.Sprint` prints it, which is what Compose makes of `environment: {A: 1.50}`: `1.5`.
    /// Null is the empty text; a list or map has none.
    pub fn scalar_text(&self) -> Option<String> {
        scalar::text(&self.value)
    }

    /// The kind in Compose's words: `string`, `integer`, `number`, `boolean`, `null`, `array`, `object`.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) => "integer",
            Value::Float(_) => "number",
            Value::String(_) => "string",
            Value::Sequence(_) => "array",
            Value::Mapping(_) => "object",
        }
    }
}

/// Whether a word without quotes is text, and not a number, boolean or null.
pub(super) fn is_text(word: &str) -> bool {
    matches!(scalar::resolve(word), Value::String(_))
}

/// A step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list, from 0.
    Item(usize),
}

/// The way from the top to a value; prints as `services.web.ports.[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<Step>);

impl Path {
    /// The top.
    pub fn root() -> Self {
        Self::default()
    }

    /// Steps into a map.
    pub fn push_key(&mut self, key: &str) {
        self.0.push(Step::Key(key.to_owned()));
    }

    /// Steps into a list.
    pub fn push_item(&mut self, item: usize) {
        self.0.push(Step::Item(item));
    }

    /// Steps back.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// The path one key further down.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut below = self.clone();
        below.push_key(key);
        below
    }

    /// The path one item further down.
    #[must_use]
    pub fn item(&self, item: usize) -> Self {
        let mut below = self.clone();
        below.push_item(item);
        below
    }

    /// The steps from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether the first step is into `key`.
    pub fn starts_with_key(&self, key: &str) -> bool {
        matches!(self.0.first(), Some(Step::Key(first)) if first == key)
    }

    /// Whether the path is one of `services.*.ports.[].target`'s: `*` stands for any one step, `[]` for any item.
    pub fn matches(&self, pattern: &str) -> bool {
        self.matches_from(0, pattern)
    }

    /// Whether what follows the first `skip` steps matches.
    pub fn matches_from(&self, skip: usize, pattern: &str) -> bool {
        let Some(steps) = self.0.get(skip..) else { return false };
        let mut steps = steps.iter();
        let mut words = pattern.split('.').filter(|word| !word.is_empty());
        loop {
            match (words.next(), steps.next()) {
                (None, None) => return true,
                (Some("*"), Some(_)) | (Some("[]"), Some(Step::Item(_))) => {}
                (Some(word), Some(Step::Key(key))) if word == key => {}
                (Some(_) | None, Some(_)) | (Some(_), None) => return false,
            }
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            let dot = if n == 0 { "" } else { "." };
            match step {
                Step::Key(key) => write!(out, "{dot}{key}")?,
                Step::Item(item) => write!(out, "{dot}[{item}]")?,
            }
        }
        Ok(())
    }
}
