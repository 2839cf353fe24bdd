//! The YAML library's events to [`Node`]s: anchors, merge keys, duplicate keys, and limits that no honest file meets.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

use super::{Mapping, Node, Path, Step, Tag, Value, scalar};
use crate::spec::diagnostic::{Diagnostic, Location, SourceFile, SpecError};

/// Maps and lists within each other. Every later stage recurses over the tree and relies on this.
const DEPTH: usize = 200;
/// Values in a file, those that aliases repeat included: a "billion laughs" ends here.
const VALUES: usize = 2_000_000;

/// Reads every document of a file.
pub fn parse(file: &Arc<SourceFile>) -> Result<Vec<Node>, SpecError> {
    let mut parser = Parser::new();
    parser.set_encoding(libyaml_safer::Encoding::Utf8);
    parser.set_input(file.text().as_bytes());
    let mut builder = Builder {
        parser,
        file,
        anchors: HashMap::new(),
        path: Path::root(),
        values: 0,
        deepest: 0,
        faults: Vec::new(),
    };
    let documents = builder.documents().map_err(|fault| {
        let mut faults = std::mem::take(&mut builder.faults);
        faults.push(*fault);
        SpecError(faults)
    })?;
    if builder.faults.is_empty() { Ok(documents) } else { Err(SpecError(builder.faults)) }
}

/// A fault after which the rest of the file means nothing. Boxed, since every step may return it.
type Read<T> = Result<T, Box<Diagnostic>>;

enum Anchor {
    /// Its value is still being read: an alias to it here would be endless.
    Open(Location),
    /// `depth` levels of lists and maps lie below it.
    Done { node: Rc<Node>, values: usize, depth: usize },
}

struct Builder<'t> {
    parser: Parser<&'t [u8]>,
    file: &'t Arc<SourceFile>,
    anchors: HashMap<String, Anchor>,
    path: Path,
    values: usize,
    /// The deepest level since the last anchor began.
    deepest: usize,
    /// Faults after which reading goes on.
    faults: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn documents(&mut self) -> Read<Vec<Node>> {
        let mut documents = Vec::new();
        loop {
            let event = self.next()?;
            match &event.data {
                EventData::StreamEnd => return Ok(documents),
                EventData::DocumentStart { version_directive, .. } => {
                    // As Docker Compose's library has it.
                    if version_directive.is_some_and(|version| (version.major, version.minor) != (1, 1)) {
                        let fault = Diagnostic::error(&self.at(&event), "yaml: found incompatible YAML document");
                        return Err(Box::new(fault.help("leave the %YAML line out")));
                    }
                }
                EventData::StreamStart { .. } | EventData::DocumentEnd { .. } => {}
                _ => documents.push(self.node(event)?),
            }
        }
    }

    fn next(&mut self) -> Read<Event> {
        self.parser.parse().map_err(|error| {
            let mark = error.problem_mark().unwrap_or_default();
            let problem = match error.kind() {
                libyaml_safer::ErrorKind::Reader => "control characters are not allowed",
                _ => error.problem(),
            };
            let fault = Diagnostic::error(&self.span(mark, mark), format!("yaml: {problem}"));
            Box::new(match (error.context(), error.context_mark()) {
                (Some(context), Some(begin)) if !context.is_empty() && begin.line != mark.line => {
                    fault.note(Some(&self.span(begin, begin)), context)
                }
                _ => fault,
            })
        })
    }

    fn at(&self, event: &Event) -> Location {
        self.span(event.start_mark, event.end_mark)
    }

    fn span(&self, start: Mark, end: Mark) -> Location {
        let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let width = if start.line == end.line { end.column.saturating_sub(start.column) } else { u64::MAX };
        Location {
            file: Arc::clone(self.file),
            line: short(start.line + 1),
            column: short(start.column + 1),
            width: short(width),
        }
    }

    fn node(&mut self, event: Event) -> Read<Node> {
        let at = self.at(&event);
        self.count(1, &at)?;
        self.deeper(0, &at)?;
        let (anchor, before, outer) = (anchor_of(&event), self.values, self.deepest);
        if let Some(name) = &anchor {
            self.anchors.insert(name.clone(), Anchor::Open(at.clone()));
            self.deepest = self.path.steps().len();
        }
        let node = match event.data {
            EventData::Alias { anchor } => return self.alias(&anchor, &at),
            EventData::Scalar { value, tag, style, .. } => self.scalar(value, style, tag.as_deref(), at),
            EventData::SequenceStart { tag, .. } => self.sequence(tag.as_deref(), at)?,
            EventData::MappingStart { tag, .. } => self.mapping(tag.as_deref(), at)?,
            EventData::StreamStart { .. }
            | EventData::StreamEnd
            | EventData::DocumentStart { .. }
            | EventData::DocumentEnd { .. }
            | EventData::SequenceEnd
            | EventData::MappingEnd => {
                return Err(Box::new(Diagnostic::error(&at, "yaml: a value is missing here")));
            }
        };
        if let Some(name) = anchor {
            let (values, depth) = (self.values - before + 1, self.deepest - self.path.steps().len());
            self.deepest = self.deepest.max(outer);
            self.anchors.insert(name, Anchor::Done { node: Rc::new(node.clone()), values, depth });
        }
        Ok(node)
    }

    fn count(&mut self, values: usize, at: &Location) -> Read<()> {
        self.values += values;
        if self.values > VALUES {
            let message = format!("the file holds more than {VALUES} values, those that aliases repeat included");
            return Err(Box::new(Diagnostic::error(at, message)));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: &str, at: &Location) -> Read<Node> {
        let (node, values, depth) = match self.anchors.get(anchor) {
            Some(Anchor::Done { node, values, depth }) => (Rc::clone(node), *values, *depth),
            Some(Anchor::Open(begin)) => {
                let message = format!("cycle detected: the alias at {} stands within its own anchor", self.path);
                return Err(Box::new(Diagnostic::error(at, message).note(Some(begin), "the anchor is here")));
            }
            None => {
                let known: Vec<&str> = self.anchors.keys().map(String::as_str).collect();
                let fault = Diagnostic::error(at, format!("yaml: unknown anchor '{anchor}' referenced"));
                return Err(Box::new(fault.did_you_mean(anchor, known)));
            }
        };
        self.count(values, at)?;
        self.deeper(depth, at)?;
        Ok((*node).clone())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&str>, at: Location) -> Node {
        let core = tag.and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:"));
        let value = match core {
            Some("str" | "binary") => Value::String(text),
            Some(kind @ ("int" | "float" | "bool" | "null")) => self.tagged(&text, kind, &at),
            _ if style != ScalarStyle::Plain => Value::String(text),
            // An own tag (`!reset` too) leaves the word as it would be without.
            _ => match scalar::timestamp(&text) {
                Some(date) => self.date(&text, date, &at),
                None => scalar::resolve(&text),
            },
        };
        Node { value, at, tag: own_tag(tag) }
    }

    /// Unquoted dates are values of their own, which no attribute takes; `x-…` may hold them, and shows them in full.
    fn date(&mut self, text: &str, date: String, at: &Location) -> Value {
        let extension = |step: &Step| matches!(step, Step::Key(key) if key.starts_with("x-") || key == "?");
        if !self.path.steps().iter().any(extension) {
            let fault = Diagnostic::error(at, format!("{}: an unquoted date is not a text", self.path));
            self.faults.push(fault.help(format!("write \"{text}\"")));
        }
        Value::String(date)
    }

    /// `!!int "5"`: the quotes don't matter, but the word must be of that kind.
    fn tagged(&mut self, text: &str, kind: &str, at: &Location) -> Value {
        match (kind, scalar::resolve(text)) {
            ("float", Value::Int(whole)) => Value::Float(whole as f64),
            ("int", value @ Value::Int(_))
            | ("float", value @ Value::Float(_))
            | ("bool", value @ Value::Bool(_))
            | ("null", value @ Value::Null) => value,
            (_, value) => {
                self.faults.push(Diagnostic::error(at, format!("yaml: cannot decode `{text}` as a !!{kind}")));
                value
            }
        }
    }

    /// Notes that there is a value here with `depth` levels below it.
    fn deeper(&mut self, depth: usize, at: &Location) -> Read<()> {
        let level = self.path.steps().len() + depth;
        self.deepest = self.deepest.max(level);
        if level > DEPTH {
            return Err(Box::new(Diagnostic::error(at, format!("nested deeper than {DEPTH} levels"))));
        }
        Ok(())
    }

    fn sequence(&mut self, tag: Option<&str>, at: Location) -> Read<Node> {
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if event.data == EventData::SequenceEnd {
                return Ok(Node { value: Value::Sequence(items), at, tag: own_tag(tag) });
            }
            self.path.push_item(items.len());
            items.push(self.node(event)?);
            self.path.pop();
        }
    }

    fn mapping(&mut self, tag: Option<&str>, at: Location) -> Read<Node> {
        let mut map = Mapping::default();
        let mut merged = Vec::new();
        let mut merge_at: Option<Location> = None;
        loop {
            let event = self.next()?;
            if event.data == EventData::MappingEnd {
                break;
            }
            let merge = is_merge(&event.data);
            let key = self.below("?", event)?;
            let event = self.next()?;
            if merge {
                if let Some(first) = merge_at.replace(key.at.clone()) {
                    self.twice("<<", &key.at, &first);
                }
                let value = self.below("<<", event)?;
                self.merge_sources(value, &mut merged);
                continue;
            }
            let Some(name) = self.key(&key) else {
                self.below("?", event)?;
                continue;
            };
            let value = self.below(&name, event)?;
            if let Some(first) = map.entry(&name) {
                let first = first.key_at.clone();
                self.twice(&name, &key.at, &first);
            }
            map.insert(name, key.at, value);
        }
        // Keys of the map itself win, wherever the `<<` stands; of several sources the first.
        for (name, entry) in merged.into_iter().flatten() {
            if !map.contains(&name) {
                map.insert(name, entry.key_at, entry.node);
            }
        }
        Ok(Node { value: Value::Mapping(map), at, tag: own_tag(tag) })
    }

    fn below(&mut self, step: &str, event: Event) -> Read<Node> {
        self.path.push_key(step);
        let node = self.node(event)?;
        self.path.pop();
        Ok(node)
    }

    fn twice(&mut self, name: &str, at: &Location, first: &Location) {
        let message = format!("mapping key {name:?} already defined at line {}", first.line);
        self.faults.push(Diagnostic::error(at, message).note(Some(first), "first defined here"));
    }

    /// The key's text; other keys are a fault (Compose: `non-string key in services.x: 1`).
    fn key(&mut self, key: &Node) -> Option<String> {
        if let Value::String(text) = &key.value {
            return Some(text.clone());
        }
        let shown = key.scalar_text().unwrap_or_else(|| key.kind().to_owned());
        let place = if self.path.steps().is_empty() { "at top level".to_owned() } else { format!("in {}", self.path) };
        let fault = Diagnostic::error(&key.at, format!("non-string key {place}: {shown}"));
        self.faults.push(if key.scalar_text().is_some() { fault.help("put the key in quotes") } else { fault });
        None
    }

    fn merge_sources(&mut self, value: Node, merged: &mut Vec<Mapping>) {
        match value.value {
            Value::Mapping(map) => merged.push(map),
            Value::Sequence(items) if items.iter().all(|item| item.as_mapping().is_some()) => {
                merged.extend(items.into_iter().filter_map(|item| match item.value {
                    Value::Mapping(map) => Some(map),
                    _ => None,
                }));
            }
            _ => {
                let message = "yaml: map merge requires map or sequence of maps as the value";
                self.faults.push(Diagnostic::error(&value.at, message));
            }
        }
    }
}

fn anchor_of(event: &Event) -> Option<String> {
    match &event.data {
        EventData::Scalar { anchor, .. }
        | EventData::SequenceStart { anchor, .. }
        | EventData::MappingStart { anchor, .. } => anchor.clone(),
        _ => None,
    }
}

fn is_merge(key: &EventData) -> bool {
    matches!(key, EventData::Scalar { value, style: ScalarStyle::Plain, tag: None, .. } if value == "<<")
}

fn own_tag(tag: Option<&str>) -> Option<Tag> {
    match tag {
        Some("!reset") => Some(Tag::Reset),
        Some("!override") => Some(Tag::Override),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        parse(&SourceFile::new("f.yaml", text)).unwrap().remove(0)
    }

    fn faults(text: &str) -> String {
        parse(&SourceFile::new("f.yaml", text)).unwrap_err().to_string()
    }

    #[test]
    fn a_value_and_its_key_know_their_lines_and_columns() {
        let tree = read("services:\n  web:\n    image: nginx\n");
        let web = tree.get("services").unwrap().get("web").unwrap();
        let image = web.as_mapping().unwrap().entry("image").unwrap();
        assert_eq!(image.key_at.to_string(), "f.yaml:3:5");
        assert_eq!(image.node.at.to_string(), "f.yaml:3:12");
        assert_eq!(image.node.at.width, 5);
    }

    #[test]
    fn keys_beside_a_merge_win_and_earlier_sources_win_over_later() {
        let tree = read("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  <<: [*a, *b]\n  y: 3\n");
        let c = tree.get("c").unwrap();
        assert_eq!(["x", "y", "z"].map(|key| c.get(key).unwrap().scalar_text().unwrap()), ["1", "3", "2"]);
    }

    #[test]
    fn a_quoted_merge_key_is_an_ordinary_key() {
        assert!(read("'<<': {a: 1}").get("<<").is_some());
    }

    #[test]
    fn all_duplicate_and_non_string_keys_are_told_at_once() {
        insta::assert_snapshot!(faults("a: 1\nb: {1: x}\na: 2\n"), @r#"
        f.yaml:2:5: error: non-string key in b: 1
         2 | b: {1: x}
           |     ^
          = help: put the key in quotes
        f.yaml:3:1: error: mapping key "a" already defined at line 1
         3 | a: 2
           | ^
          = note: first defined here (f.yaml:1:1)
         1 | a: 1
           | ^
        "#);
    }

    #[test]
    fn an_alias_within_its_own_anchor_is_a_cycle() {
        assert!(faults("a: &a\n  b: *a\n").contains("cycle detected"));
    }

    #[test]
    fn a_billion_laughs_end_early() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let last = format!("*a{}", n - 1);
            text += &format!("a{n}: &a{n} [{}]\n", vec![last; 10].join(", "));
        }
        assert!(faults(&text).contains("more than 2000000 values"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(faults(&"[".repeat(10_000)).contains("error"));
        assert!(faults(&"- ".repeat(10_000)).contains("nested deeper"));
        assert!(faults(&"? ".repeat(10_000)).contains("nested deeper"));
        assert!(faults(&"<<: {".repeat(230)).contains("nested deeper"));
    }

    #[test]
    fn deep_nesting_by_aliases_of_aliases_is_refused() {
        let mut text = format!("a0: &a0 {}{}\n", "[".repeat(90), "]".repeat(90));
        for n in 1..9 {
            text += &format!("a{n}: &a{n} {}*a{}{}\n", "[".repeat(90), n - 1, "]".repeat(90));
        }
        assert!(faults(&text).contains("nested deeper"));
    }

    #[test]
    fn tags_of_the_merge_stay_on_their_value_and_core_tags_say_the_kind() {
        let tree = read("a: !reset null\nb: !override [x]\nc: !!str 5\nd: !!int '5'\ne: !mine 5\n");
        assert_eq!(tree.get("a").unwrap().tag, Some(Tag::Reset));
        assert_eq!(tree.get("b").unwrap().tag, Some(Tag::Override));
        assert_eq!(tree.get("c").unwrap().value, Value::String("5".into()));
        assert_eq!(tree.get("d").unwrap().value, Value::Int(5));
    }

    #[test]
    fn documents_are_read_one_after_another() {
        assert_eq!(parse(&SourceFile::new("f", "a: 1\n---\nb: 2\n")).unwrap().len(), 2);
        assert_eq!(parse(&SourceFile::new("f", "# nothing\n")).unwrap().len(), 0);
    }
}
