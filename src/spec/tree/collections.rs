//! Lists and maps, in block and flow form: the grammar of libyaml, one function a form.

use super::scanner::{Kind, Token};
use super::yaml::{Builder, Place, Read, own_tag, span};
use super::{Entry, Mapping, Node, Value};
use crate::spec::diagnostic::Location;

/// A map while it is read.
#[derive(Default)]
struct Entries {
    own: Mapping,
    /// What `<<` brings, in order.
    merged: Vec<Mapping>,
    merge_at: Option<Location>,
}

impl Entries {
    /// Keys of the map itself win, wherever the `<<` stands; of several sources the first.
    fn finish(self) -> Mapping {
        let mut map = self.own;
        for (name, entry) in self.merged.into_iter().flatten() {
            if !map.contains(&name) {
                map.insert(name, entry.key_at, entry.node);
            }
        }
        map
    }
}

impl Builder<'_> {
    pub(super) fn block_sequence(&mut self, tag: Option<&str>) -> Read<Node> {
        let start = self.take()?;
        let mut items = Vec::new();
        while !self.is(&Kind::BlockEnd)? {
            if !self.is(&Kind::BlockEntry)? {
                let during = Some(("while parsing a block collection", start.start));
                return self.unexpected("did not find expected '-' indicator", during);
            }
            self.take()?;
            self.item(&mut items, Place::Block, &[Kind::BlockEntry, Kind::BlockEnd])?;
        }
        self.take()?;
        Ok(Node { value: Value::Sequence(items), at: self.at(&start), tag: own_tag(tag) })
    }

    /// A list that is indented no further than its key.
    pub(super) fn list_at_key(&mut self, tag: Option<&str>) -> Read<Node> {
        let at = self.peek()?.start;
        let mut items = Vec::new();
        while self.is(&Kind::BlockEntry)? {
            self.take()?;
            self.item(&mut items, Place::Block, &[Kind::BlockEntry, Kind::Key, Kind::Value, Kind::BlockEnd])?;
        }
        Ok(Node { value: Value::Sequence(items), at: span(self.file, at, at), tag: own_tag(tag) })
    }

    fn item(&mut self, items: &mut Vec<Node>, place: Place, ends: &[Kind]) -> Read<()> {
        self.path.push_item(items.len());
        items.push(self.optional(place, ends)?);
        self.path.pop();
        Ok(())
    }

    pub(super) fn block_mapping(&mut self, tag: Option<&str>) -> Read<Node> {
        const ENDS: [Kind; 3] = [Kind::Key, Kind::Value, Kind::BlockEnd];
        let start = self.take()?;
        let mut entries = Entries::default();
        while !self.is(&Kind::BlockEnd)? {
            if !self.is(&Kind::Key)? {
                let during = Some(("while parsing a block mapping", start.start));
                return self.unexpected("did not find expected key", during);
            }
            self.take()?;
            self.entry(&mut entries, Place::BlockBelowKey, &ENDS, &ENDS)?;
        }
        self.take()?;
        Ok(Node { value: Value::Mapping(entries.finish()), at: self.at(&start), tag: own_tag(tag) })
    }

    pub(super) fn flow_sequence(&mut self, tag: Option<&str>) -> Read<Node> {
        const ENDS: [Kind; 2] = [Kind::FlowEntry, Kind::FlowSequenceEnd];
        let start = self.take()?;
        let mut items = Vec::new();
        while !self.is(&Kind::FlowSequenceEnd)? {
            if !items.is_empty() {
                self.comma(&start, "while parsing a flow sequence", "did not find expected ',' or ']'")?;
            }
            if self.is(&Kind::FlowSequenceEnd)? {
                break;
            }
            if self.is(&Kind::Key)? {
                // `[a: b]` is `[{a: b}]`.
                let key = self.take()?;
                self.path.push_item(items.len());
                let mut entries = Entries::default();
                let key_ends = [Kind::Value, Kind::FlowEntry, Kind::FlowSequenceEnd];
                self.entry(&mut entries, Place::Flow, &key_ends, &ENDS)?;
                self.path.pop();
                items.push(Node::new(&self.at(&key), Value::Mapping(entries.finish())));
            } else {
                self.path.push_item(items.len());
                items.push(self.node(Place::Flow)?);
                self.path.pop();
            }
        }
        let end = self.take()?;
        let at = span(self.file, start.start, end.end);
        Ok(Node { value: Value::Sequence(items), at, tag: own_tag(tag) })
    }

    fn comma(&mut self, start: &Token, during: &'static str, problem: &'static str) -> Read<()> {
        if !self.is(&Kind::FlowEntry)? {
            return self.unexpected(problem, Some((during, start.start)));
        }
        self.take()?;
        Ok(())
    }

    pub(super) fn flow_mapping(&mut self, tag: Option<&str>) -> Read<Node> {
        const ENDS: [Kind; 2] = [Kind::FlowEntry, Kind::FlowMappingEnd];
        let start = self.take()?;
        let mut entries = Entries::default();
        let mut first = true;
        while !self.is(&Kind::FlowMappingEnd)? {
            if !first {
                self.comma(&start, "while parsing a flow mapping", "did not find expected ',' or '}'")?;
            }
            first = false;
            if self.is(&Kind::FlowMappingEnd)? {
                break;
            }
            if self.is(&Kind::Key)? {
                self.take()?;
            }
            let key_ends = [Kind::Value, Kind::FlowEntry, Kind::FlowMappingEnd];
            self.entry(&mut entries, Place::Flow, &key_ends, &ENDS)?;
        }
        let end = self.take()?;
        let at = span(self.file, start.start, end.end);
        Ok(Node { value: Value::Mapping(entries.finish()), at, tag: own_tag(tag) })
    }

    /// A key and what it holds.
    fn entry(&mut self, entries: &mut Entries, place: Place, key_ends: &[Kind], ends: &[Kind]) -> Read<()> {
        let merge = match &self.peek()?.kind {
            Kind::Scalar { text, plain } => *plain && text == "<<",
            Kind::Tag { handle, suffix } => handle == "!!" && suffix == "merge",
            _ => false,
        };
        self.path.push_key("?");
        let key = self.optional(place, key_ends)?;
        self.path.pop();
        let name = if merge { Some("<<".to_owned()) } else { self.key(&key) };
        self.path.push_key(name.as_deref().unwrap_or("?"));
        let value = if self.is(&Kind::Value)? {
            self.take()?;
            self.optional(place, ends)?
        } else {
            Node::new(&key.at, Value::Null)
        };
        self.path.pop();
        if merge {
            if let Some(first) = entries.merge_at.replace(key.at.clone()) {
                self.twice("<<", &key.at, &first);
            }
            self.merge_sources(value, &mut entries.merged);
        } else if let Some(name) = name
            && let Some(Entry { key_at: first, .. }) = entries.own.insert(name.clone(), key.at.clone(), value)
        {
            self.twice(&name, &key.at, &first);
        }
        Ok(())
    }
}
