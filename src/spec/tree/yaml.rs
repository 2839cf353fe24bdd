//! Tokens to [`Node`]s: the grammar, anchors, merge keys, duplicate keys, and limits that no honest file meets.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::scanner::{Fault, Kind, Mark, Scan, Scanner, Token};
use super::{Mapping, Node, Path, Step, Tag, Value, scalar};
use crate::spec::diagnostic::{Diagnostic, Location, SourceFile, SpecError};

/// What `!!` stands for.
const CORE: &str = "tag:yaml.org,2002:";
/// Maps and lists within each other. Every later stage recurses over the tree and relies on this.
const DEPTH: usize = 200;
/// Values in a file, those that aliases repeat included: a "billion laughs" ends here.
const VALUES: usize = 2_000_000;

/// Reads every document of a file.
pub fn parse(file: &Arc<SourceFile>) -> Result<Vec<Node>, SpecError> {
    let mut builder = Builder {
        scanner: Scanner::new(file.text()),
        file,
        anchors: HashMap::new(),
        prefixes: HashMap::new(),
        path: Path::root(),
        values: 0,
        deepest: 0,
        faults: Vec::new(),
    };
    if let Some((at, c)) = file.text().char_indices().find(|(_, c)| !allowed(*c)) {
        let fault = Diagnostic::error(&file.place(at, at + c.len_utf8()), "yaml: control characters are not allowed");
        return Err(fault.into());
    }
    let documents = builder.documents().map_err(|fault| {
        let mut faults = std::mem::take(&mut builder.faults);
        faults.push(*fault);
        SpecError(faults)
    })?;
    if builder.faults.is_empty() { Ok(documents) } else { Err(SpecError(builder.faults)) }
}

/// What YAML calls printable (1.1, §5.1).
fn allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// A fault after which the rest of the file means nothing. Boxed, since every step may return it.
pub(super) type Read<T> = Result<T, Box<Diagnostic>>;

enum Anchor {
    /// Its value is still being read: an alias to it here would be endless.
    Open(Location),
    /// `depth` levels of lists and maps lie below it.
    Done { node: Rc<Node>, values: usize, depth: usize },
}

pub(super) struct Builder<'t> {
    scanner: Scanner<'t>,
    pub(super) file: &'t Arc<SourceFile>,
    anchors: HashMap<String, Anchor>,
    /// What `%TAG` handles stand for.
    prefixes: HashMap<String, String>,
    pub(super) path: Path,
    values: usize,
    /// The deepest level since the last anchor began.
    deepest: usize,
    /// Faults after which reading goes on.
    faults: Vec<Diagnostic>,
}

/// Where a value may stand, and so which forms it may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Block,
    /// Below a key of a block mapping, whose list needs no indentation of its own.
    BlockBelowKey,
    Flow,
}

impl Builder<'_> {
    fn documents(&mut self) -> Read<Vec<Node>> {
        let mut documents = Vec::new();
        let mut first = true;
        loop {
            // Before the first document there is none to end.
            while !first && self.is(&Kind::DocumentEnd)? {
                self.take()?;
            }
            if self.is(&Kind::StreamEnd)? {
                return Ok(documents);
            }
            let marked = self.directives()? | self.is(&Kind::DocumentStart)?;
            if marked || !first {
                if !self.is(&Kind::DocumentStart)? {
                    return self.unexpected("did not find expected <document start>", None);
                }
                self.take()?;
            }
            first = false;
            documents.push(self.optional(Place::Block, &[Kind::DocumentStart, Kind::DocumentEnd, Kind::StreamEnd])?);
        }
    }

    /// `%YAML` and `%TAG` lines; whether there were any.
    fn directives(&mut self) -> Read<bool> {
        self.prefixes.clear();
        let mut any = false;
        loop {
            match &self.peek()?.kind {
                Kind::Version { major: 1, minor: 1 } => {}
                Kind::Version { .. } => {
                    // As Docker Compose's library has it.
                    let token = self.take()?;
                    let fault = Diagnostic::error(&self.at(&token), "yaml: found incompatible YAML document");
                    return Err(Box::new(fault.help("leave the %YAML line out")));
                }
                Kind::TagPrefix { handle, prefix } => {
                    let (handle, prefix) = (handle.clone(), prefix.clone());
                    self.prefixes.insert(handle, prefix);
                }
                _ => return Ok(any),
            }
            any = true;
            self.take()?;
        }
    }

    pub(super) fn peek(&mut self) -> Read<&Token> {
        let file = self.file;
        self.scanner.peek().map_err(|fault| told(file, &fault))
    }

    pub(super) fn take(&mut self) -> Read<Token> {
        let scanned: Scan<Token> = self.scanner.take();
        scanned.map_err(|fault| told(self.file, &fault))
    }

    pub(super) fn is(&mut self, kind: &Kind) -> Read<bool> {
        Ok(self.peek()?.kind == *kind)
    }

    pub(super) fn unexpected<T>(&mut self, problem: &'static str, during: Option<(&'static str, Mark)>) -> Read<T> {
        let at = self.peek()?.start;
        Err(told(self.file, &Fault { problem, at, during }))
    }

    pub(super) fn at(&self, token: &Token) -> Location {
        span(self.file, token.start, token.end)
    }

    /// A value, or null where one of `ends` follows.
    pub(super) fn optional(&mut self, place: Place, ends: &[Kind]) -> Read<Node> {
        if ends.contains(&self.peek()?.kind) {
            let at = self.peek()?.start;
            self.count(1, at)?;
            return Ok(Node::new(&span(self.file, at, at), Value::Null));
        }
        self.node(place)
    }

    pub(super) fn node(&mut self, place: Place) -> Read<Node> {
        let start = self.peek()?.start;
        self.count(1, start)?;
        self.deeper(0, start)?;
        if let Kind::Alias(name) = &self.peek()?.kind {
            let name = name.clone();
            let token = self.take()?;
            return self.alias(&name, &token);
        }
        let (anchor, tag) = self.properties()?;
        let (before, outer) = (self.values, self.deepest);
        if let Some(name) = &anchor {
            self.anchors.insert(name.clone(), Anchor::Open(span(self.file, start, start)));
            self.deepest = self.path.steps().len();
        }
        let named = anchor.is_some() || tag.is_some();
        let node = self.content(place, tag.as_deref(), named)?;
        if let Some(name) = anchor {
            let (values, depth) = (self.values - before + 1, self.deepest - self.path.steps().len());
            self.deepest = self.deepest.max(outer);
            self.anchors.insert(name, Anchor::Done { node: Rc::new(node.clone()), values, depth });
        }
        Ok(node)
    }

    /// `&anchor` and `!tag`, in either order.
    fn properties(&mut self) -> Read<(Option<String>, Option<String>)> {
        let (mut anchor, mut tag) = (None, None);
        loop {
            match &self.peek()?.kind {
                Kind::Anchor(name) if anchor.is_none() => anchor = Some(name.clone()),
                Kind::Tag { handle, suffix } if tag.is_none() => {
                    let (handle, suffix) = (handle.clone(), suffix.clone());
                    let known = self.prefixes.get(&handle).map(String::as_str);
                    let prefix = match (handle.as_str(), known) {
                        (_, Some(prefix)) => prefix,
                        ("", None) => "",
                        ("!", None) => "!",
                        ("!!", None) => CORE,
                        (_, None) => return self.unexpected("found undefined tag handle", None),
                    };
                    tag = Some(format!("{prefix}{suffix}"));
                }
                _ => return Ok((anchor, tag)),
            }
            self.take()?;
        }
    }

    fn content(&mut self, place: Place, tag: Option<&str>, named: bool) -> Read<Node> {
        let token = self.peek()?;
        let (start, block) = (token.start, place != Place::Flow);
        match &token.kind {
            Kind::BlockEntry if place == Place::BlockBelowKey => self.list_at_key(tag),
            Kind::Scalar { .. } => {
                let token = self.take()?;
                let at = self.at(&token);
                match token.kind {
                    Kind::Scalar { text, plain } => Ok(self.scalar(text, plain, tag, at)),
                    _ => Ok(Node::new(&at, Value::Null)),
                }
            }
            Kind::FlowSequenceStart => self.flow_sequence(tag),
            Kind::FlowMappingStart => self.flow_mapping(tag),
            Kind::BlockSequenceStart if block => self.block_sequence(tag),
            Kind::BlockMappingStart if block => self.block_mapping(tag),
            _ if named => Ok(self.scalar(String::new(), true, tag, span(self.file, start, start))),
            _ => {
                let during = if block { "while parsing a block node" } else { "while parsing a flow node" };
                self.unexpected("did not find expected node content", Some((during, start)))
            }
        }
    }

    fn count(&mut self, values: usize, at: Mark) -> Read<()> {
        self.values += values;
        if self.values > VALUES {
            let message = format!("the file holds more than {VALUES} values, those that aliases repeat included");
            return Err(Box::new(Diagnostic::error(&span(self.file, at, at), message)));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: &str, token: &Token) -> Read<Node> {
        let at = &self.at(token);
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
        self.count(values, token.start)?;
        self.deeper(depth, token.start)?;
        Ok((*node).clone())
    }

    fn scalar(&mut self, text: String, plain: bool, tag: Option<&str>, at: Location) -> Node {
        let core = tag.and_then(|tag| tag.strip_prefix(CORE));
        let value = match core {
            Some("str") => Value::String(text),
            Some("binary") => self.binary(text, &at),
            Some("timestamp") if scalar::timestamp(&text).is_none() => {
                self.faults.push(Diagnostic::error(&at, format!("yaml: cannot decode `{text}` as a !!timestamp")));
                Value::String(text)
            }
            Some(kind @ ("int" | "float" | "bool" | "null")) => self.tagged(&text, kind, &at),
            _ if !plain => Value::String(text),
            // A tag of the file's own makes any word a text.
            None if tag.is_some_and(|tag| tag != "!" && own_tag(Some(tag)).is_none()) => Value::String(text),
            Some(kind) if kind != "timestamp" => Value::String(text),
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

    /// `!!binary YWJj` is `abc`.
    fn binary(&mut self, text: String, at: &Location) -> Value {
        let packed: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        let bytes = data_encoding::BASE64.decode(packed.as_bytes()).ok();
        match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(decoded) => Value::String(decoded),
            None => {
                let message = "yaml: !!binary value contains invalid base64 data, or what is no text";
                self.faults.push(Diagnostic::error(at, message));
                Value::String(text)
            }
        }
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
    fn deeper(&mut self, depth: usize, at: Mark) -> Read<()> {
        let level = self.path.steps().len() + depth;
        self.deepest = self.deepest.max(level);
        if level > DEPTH {
            let message = format!("nested deeper than {DEPTH} levels");
            return Err(Box::new(Diagnostic::error(&span(self.file, at, at), message)));
        }
        Ok(())
    }

    pub(super) fn twice(&mut self, name: &str, at: &Location, first: &Location) {
        let message = format!("mapping key {name:?} already defined at line {}", first.line);
        self.faults.push(Diagnostic::error(at, message).note(Some(first), "first defined here"));
    }

    /// The key's text; other keys are a fault (Compose: `non-string key in services.x: 1`).
    pub(super) fn key(&mut self, key: &Node) -> Option<String> {
        if let Value::String(text) = &key.value {
            return Some(text.clone());
        }
        let shown = key.scalar_text().unwrap_or_else(|| key.kind().to_owned());
        let place = if self.path.steps().is_empty() { "at top level".to_owned() } else { format!("in {}", self.path) };
        let fault = Diagnostic::error(&key.at, format!("non-string key {place}: {shown}"));
        self.faults.push(if key.scalar_text().is_some() { fault.help("put the key in quotes") } else { fault });
        None
    }

    pub(super) fn merge_sources(&mut self, value: Node, merged: &mut Vec<Mapping>) {
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

pub(super) fn span(file: &Arc<SourceFile>, start: Mark, end: Mark) -> Location {
    let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let width = if start.line == end.line { end.column.saturating_sub(start.column) } else { usize::MAX };
    Location {
        file: Arc::clone(file),
        line: short(start.line + 1),
        column: short(start.column + 1),
        width: short(width),
    }
}

fn told(file: &Arc<SourceFile>, fault: &Fault) -> Box<Diagnostic> {
    let told = Diagnostic::error(&span(file, fault.at, fault.at), format!("yaml: {}", fault.problem));
    Box::new(match fault.during {
        Some((during, begin)) if begin.line != fault.at.line => told.note(Some(&span(file, begin, begin)), during),
        Some(_) | None => told,
    })
}

pub(super) fn own_tag(tag: Option<&str>) -> Option<Tag> {
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
        assert_eq!(tree.get("e").unwrap().value, Value::String("5".into()));
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
