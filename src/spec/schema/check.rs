//! Holds a tree against the table and names every fault, each at the deepest place that is wrong.

use super::{Accepts, FILE, Kinds, Object, user_name};
use crate::spec::diagnostic::{Diagnostic, Location};
use crate::spec::schema;
use crate::spec::tree::{Mapping, Node, Path, Value};

/// Adds a fault to `found` for each thing of a merged model that the Compose schema does not know or that has the wrong type.
/// Short and long forms both pass. A top-level `version` passes too; who calls warns of it and drops it.
pub(in crate::spec) fn check(model: &Node, found: &mut Vec<Diagnostic>) {
    let mut checker = Checker { path: Path::root(), found };
    match model.as_mapping() {
        Some(map) => checker.object(map, &model.at, &FILE),
        None => checker.fault(&model.at, format!("the file must be a mapping, not {}", kind_of(model))),
    }
}

struct Checker<'a> {
    path: Path,
    found: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn accept(&mut self, node: &Node, accepts: &'static Accepts) {
        match accepts {
            Accepts::Anything => {}
            Accepts::Scalar(kinds) => {
                if !is_kind(node, *kinds) {
                    self.wrong_type(node, accepts);
                }
            }
            Accepts::Words(words) => match node.as_str() {
                Some(text) if words.contains(&text) => {}
                Some(text) => {
                    let message = format!("{}: {text:?} is not allowed here; use one of {}", self.path, list(words));
                    self.found.push(Diagnostic::error(&node.at, message).did_you_mean(text, words.iter().copied()));
                }
                None => self.wrong_type(node, accepts),
            },
            Accepts::Matching(passes, words) => match node.as_str() {
                Some(text) if passes(text) => {}
                Some(text) => self.fault(&node.at, format!("{}: {text:?} is not allowed here; use {words}", self.path)),
                None => self.wrong_type(node, accepts),
            },
            Accepts::Within(first, last) => match integer(node) {
                Some(number) if !(*first..=*last).contains(&number) => {
                    let most = if *last == i128::MAX { "or more".to_owned() } else { format!("to {last}") };
                    self.fault(&node.at, format!("{}: {number} is out of range, use {first} {most}", self.path));
                }
                Some(_) => {}
                None if node.as_str().is_some() => {}
                None => self.wrong_type(node, accepts),
            },
            Accepts::List(items) => self.list(node, accepts, items),
            Accepts::Set(items) => {
                self.list(node, accepts, items);
                self.unique(node);
            }
            Accepts::Named(values) => self.map(node, accepts, values, user_name, Others::Refused),
            Accepts::Map(values) => self.map(node, accepts, values, |key| !key.is_empty(), Others::Refused),
            Accepts::Loose(passes, values) => self.map(node, accepts, values, *passes, Others::Unchecked),
            Accepts::Object(object) => match node.as_mapping() {
                Some(map) => self.object(map, &node.at, object),
                None => self.wrong_type(node, accepts),
            },
            Accepts::Either(alternatives) => match alternatives.iter().find(|one| same_kind(node, one)) {
                Some(one) => self.accept(node, one),
                None => self.wrong_type(node, accepts),
            },
        }
    }

    fn fault(&mut self, at: &Location, message: String) {
        self.found.push(Diagnostic::error(at, message));
    }

    fn wrong_type(&mut self, node: &Node, accepts: &Accepts) {
        let mut wanted = Vec::new();
        kinds_of(accepts, &mut wanted);
        let message = format!("{} must be {}, not {}", self.path, or(&wanted), kind_of(node));
        let fault = Diagnostic::error(&node.at, message);
        let quoted = match (&node.value, &wanted[..]) {
            (Value::Int(_) | Value::Float(_) | Value::Bool(_), wanted) if wanted.contains(&"a string") => {
                node.scalar_text().map(|text| format!("put it in quotes: \"{text}\""))
            }
            _ => None,
        };
        self.found.push(match quoted {
            Some(help) => fault.help(help),
            None => fault,
        });
    }

    fn list(&mut self, node: &Node, accepts: &Accepts, items: &'static Accepts) {
        let Some(list) = node.as_sequence() else { return self.wrong_type(node, accepts) };
        for (n, item) in list.iter().enumerate() {
            self.path.push_item(n);
            self.accept(item, items);
            self.path.pop();
        }
    }

    fn unique(&mut self, node: &Node) {
        let Some(list) = node.as_sequence() else { return };
        if list.iter().all(|item| item.as_str().is_some()) {
            let mut seen = std::collections::HashMap::with_capacity(list.len());
            for (n, item) in list.iter().enumerate() {
                if let Some(first) = item.as_str().and_then(|text| seen.insert(text, n)) {
                    self.twice(list, first, n);
                }
            }
            return;
        }
        for (n, item) in list.iter().enumerate() {
            if let Some(first) = list.iter().take(n).position(|other| equal(&other.value, &item.value)) {
                self.twice(list, first, n);
            }
        }
    }

    fn twice(&mut self, list: &[Node], first: usize, second: usize) {
        let message = format!("{} items at {first} and {second} are equal", self.path);
        self.found.push(Diagnostic::error(&list[second].at, message).note(Some(&list[first].at), "the first is here"));
    }

    fn map(
        &mut self,
        node: &Node,
        accepts: &Accepts,
        values: &'static Accepts,
        passes: impl Fn(&str) -> bool,
        others: Others,
    ) {
        let Some(map) = node.as_mapping() else { return self.wrong_type(node, accepts) };
        for (key, entry) in map.iter() {
            self.path.push_key(key);
            if passes(key) {
                self.accept(&entry.node, values);
            } else if others == Others::Refused {
                let message = match key {
                    "" => format!("{}: a name may not be empty", self.path),
                    _ => format!("{}: invalid name {key:?}; use letters, digits, `.`, `_` and `-`", self.path),
                };
                self.fault(&entry.key_at, message);
            }
            self.path.pop();
        }
    }

    fn object(&mut self, map: &Mapping, at: &Location, object: &'static Object) {
        for (key, entry) in map.iter() {
            match object.field(key) {
                Some(field) => {
                    self.path.push_key(key);
                    self.accept(&entry.node, &field.accepts);
                    self.path.pop();
                }
                None if object.others == schema::Others::Ignored => {}
                None if object.others == schema::Others::Extensions && key.starts_with("x-") => {}
                None => {
                    let place = if self.path.steps().is_empty() { String::new() } else { format!("{}: ", self.path) };
                    let known = object.fields.iter().map(|field| field.name);
                    let fault = Diagnostic::error(&entry.key_at, format!("{place}unknown key `{key}`"));
                    self.found.push(fault.did_you_mean(key, known));
                }
            }
        }
        for key in object.required.iter().filter(|key| !map.contains(key)) {
            self.fault(at, format!("{}: `{key}` is missing", self.path));
        }
    }
}

/// What becomes of names that do not pass.
#[derive(PartialEq, Eq)]
enum Others {
    Refused,
    Unchecked,
}

fn is_kind(node: &Node, kinds: Kinds) -> bool {
    match &node.value {
        Value::String(_) => kinds.has(Kinds::TEXT),
        Value::Bool(_) => kinds.has(Kinds::BOOLEAN),
        Value::Null => kinds.has(Kinds::NULL),
        Value::Int(_) => kinds.has(Kinds::INTEGER),
        Value::Float(_) => kinds.has(Kinds::NUMBER) || (kinds.has(Kinds::INTEGER) && integer(node).is_some()),
        Value::Sequence(_) | Value::Mapping(_) => false,
    }
}

/// An integer, `1.0` being one (JSON Schema has no other notion of it).
fn integer(node: &Node) -> Option<i128> {
    match node.value {
        Value::Int(number) => Some(number),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e30 => Some(number as i128),
        _ => None,
    }
}

/// Whether the alternative is the one that the value's kind calls for.
fn same_kind(node: &Node, accepts: &Accepts) -> bool {
    match accepts {
        Accepts::Anything => true,
        Accepts::Scalar(kinds) => is_kind(node, *kinds),
        Accepts::Words(_) | Accepts::Matching(..) => node.as_str().is_some(),
        Accepts::Within(..) => node.as_str().is_some() || integer(node).is_some(),
        Accepts::List(_) | Accepts::Set(_) => node.as_sequence().is_some(),
        Accepts::Named(_) | Accepts::Map(_) | Accepts::Loose(..) | Accepts::Object(_) => node.as_mapping().is_some(),
        Accepts::Either(alternatives) => alternatives.iter().any(|one| same_kind(node, one)),
    }
}

fn kinds_of(accepts: &Accepts, kinds: &mut Vec<&'static str>) {
    let mut add = |kind| {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    };
    match accepts {
        Accepts::Anything => add("anything"),
        Accepts::Scalar(scalar) => {
            for (kind, words) in [(Kinds::TEXT, "a string"), (Kinds::BOOLEAN, "true or false"), (Kinds::NULL, "empty")]
            {
                if scalar.has(kind) {
                    add(words);
                }
            }
            if scalar.has(Kinds::NUMBER) {
                add("a number");
            } else if scalar.has(Kinds::INTEGER) {
                add("an integer");
            }
        }
        Accepts::Words(_) | Accepts::Matching(..) => add("a string"),
        Accepts::Within(..) => {
            add("an integer");
            add("a string");
        }
        Accepts::List(_) | Accepts::Set(_) => add("a list"),
        Accepts::Named(_) | Accepts::Map(_) | Accepts::Loose(..) | Accepts::Object(_) => add("a mapping"),
        Accepts::Either(alternatives) => {
            for one in *alternatives {
                kinds_of(one, kinds);
            }
        }
    }
}

fn kind_of(node: &Node) -> &'static str {
    match &node.value {
        Value::Null => "empty",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a number",
        Value::String(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
    }
}

fn or(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Equality of JSON Schema: 1 and 1.0 are the same, places do not matter, nor does the order of keys.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        (Value::Sequence(a), Value::Sequence(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(&a.value, &b.value))
        }
        (Value::Mapping(a), Value::Mapping(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, entry)| b.get(key).is_some_and(|other| equal(&entry.node.value, &other.value)))
        }
        _ => a == b,
    }
}
