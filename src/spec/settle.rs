//! Gives each value its last form: sizes in bytes, durations as Go writes them, argument lists, maps of texts, numbers.
//!
//! The table of `schema` says what becomes of what. What can't become it is a fault, at its place.

use super::diagnostic::Diagnostic;
use super::fields::pairs::Bare;
use super::fields::{command, hosts, pairs};
use super::schema::{Becomes, FILE, Object};
use super::tree::{Mapping, Node, Path, Value};
use crate::values::{byte_size, duration, float};

/// Gives each value of an expanded model its last form. Faults go to `found`.
pub(in crate::spec) fn settle(model: &mut Node, found: &mut Vec<Diagnostic>) {
    Settler { path: Path::root(), found }.object(model, &FILE);
    // `data:` under `volumes:` says as much as `data: {}`.
    for kind in ["networks", "volumes", "configs", "secrets", "models"] {
        let resources = model.as_mapping_mut().and_then(|map| map.get_mut(kind)).and_then(Node::as_mapping_mut);
        for (_, entry) in resources.into_iter().flat_map(Mapping::iter_mut).filter(|(_, entry)| entry.node.is_null()) {
            entry.node.value = Value::Mapping(Mapping::default());
        }
    }
}

/// The first number past what 64 bits with a sign hold.
const TWO_TO_63: f64 = (1_u64 << 63) as f64;

struct Settler<'a> {
    path: Path,
    found: &'a mut Vec<Diagnostic>,
}

impl Settler<'_> {
    fn object(&mut self, node: &mut Node, object: &'static Object) {
        let Some(map) = node.as_mapping_mut() else { return };
        for (key, entry) in map.iter_mut() {
            if let Some(field) = object.field(key) {
                self.path.push_key(key);
                self.value(&mut entry.node, &field.becomes);
                self.path.pop();
            }
        }
    }

    fn value(&mut self, node: &mut Node, becomes: &'static Becomes) {
        if node.is_null() && !matches!(becomes, Becomes::TextMap | Becomes::NullableMap) {
            return;
        }
        match becomes {
            Becomes::Same => {}
            Becomes::Object(object) => self.object(node, object),
            Becomes::List(items) => self.items(node, items),
            Becomes::Map(values) => {
                if let Some(map) = node.as_mapping_mut() {
                    pairs::drop_extensions(map);
                }
                self.named(node, values);
            }
            Becomes::Named(values) => self.named(node, values),
            Becomes::Text => self.text(node),
            Becomes::Flag => self.flag(node),
            Becomes::Integer => self.integer(node),
            Becomes::Unsigned(bits) => self.unsigned(node, *bits),
            Becomes::Number => self.number(node),
            Becomes::Bytes => self.bytes(node),
            Becomes::Duration => self.duration(node),
            Becomes::Texts => {
                if node.as_sequence().is_none() {
                    node.value = Value::Sequence(vec![Node { tag: None, ..node.clone() }]);
                }
                self.items(node, &Becomes::Text);
            }
            Becomes::Words => self.items(node, &Becomes::Text),
            Becomes::TextMap => pairs::to_map(node, Bare::Empty),
            Becomes::PlainMap => self.plain_map(node),
            Becomes::NullableMap => self.environment(node),
            Becomes::Command => self.command(node),
            Becomes::Probe => {
                if let Value::String(line) = &mut node.value {
                    let line = std::mem::take(line);
                    let at = &node.at;
                    node.value = Value::Sequence(vec![Node::string(at, "CMD-SHELL"), Node::string(at, line)]);
                }
            }
            Becomes::Hosts => hosts::to_list(node, self.found),
            Becomes::Mode => self.mode(node),
            Becomes::Count => self.count(node),
            Becomes::Ulimit => self.ulimit(node),
            Becomes::Keys => keys(node),
            Becomes::Options => self.options(node),
        }
    }

    fn fault(&mut self, node: &Node, message: impl std::fmt::Display) {
        self.found.push(Diagnostic::error(&node.at, format!("{}: {message}", self.path)));
    }

    fn named(&mut self, node: &mut Node, values: &'static Becomes) {
        for (key, entry) in node.as_mapping_mut().into_iter().flat_map(Mapping::iter_mut) {
            self.path.push_key(key);
            self.value(&mut entry.node, values);
            self.path.pop();
        }
    }

    fn items(&mut self, node: &mut Node, items: &'static Becomes) {
        for (n, item) in node.as_sequence_mut().into_iter().flatten().enumerate() {
            self.path.push_item(n);
            self.value(item, items);
            self.path.pop();
        }
    }

    fn text(&mut self, node: &mut Node) {
        match node.value {
            Value::String(_) => {}
            Value::Int(number) => node.value = Value::String(number.to_string()),
            _ => self.fault(node, format!("must be a string, not {}", node.kind())),
        }
    }

    fn flag(&mut self, node: &mut Node) {
        let Value::String(text) = &node.value else {
            if !matches!(node.value, Value::Bool(_)) {
                self.fault(node, "must be true or false");
            }
            return;
        };
        let flag = match text.to_lowercase().as_str() {
            "true" => true,
            "false" => false,
            "y" | "yes" | "on" => true,
            "n" | "no" | "off" => false,
            _ => return self.fault(node, format!("{text:?} is not true or false")),
        };
        if !matches!(text.to_lowercase().as_str(), "true" | "false") {
            let message = format!("{text:?} for boolean is not supported by YAML 1.2, please use `{flag}`");
            self.found.push(Diagnostic::warning(&node.at, message));
        }
        node.value = Value::Bool(flag);
    }

    fn integer(&mut self, node: &mut Node) {
        match &node.value {
            Value::Int(_) => {}
            // Go makes the least integer of what does not fit.
            Value::Float(number) => {
                let fits = (-TWO_TO_63..TWO_TO_63).contains(number);
                node.value = Value::Int(if fits { number.trunc() as i128 } else { i128::from(i64::MIN) });
            }
            Value::String(text) => match text.parse() {
                Ok(number) => node.value = Value::Int(number),
                Err(_) => self.fault(node, format!("{text:?} is no integer")),
            },
            _ => self.fault(node, "must be an integer"),
        }
    }

    /// As Go converts: what does not fit loses its high bits, and a float past 64 bits is the highest bit alone.
    fn unsigned(&mut self, node: &mut Node, bits: u32) {
        let number = match node.value {
            Value::Int(number) => number,
            Value::Float(number) if (-TWO_TO_63..TWO_TO_63).contains(&number) => number.trunc() as i128,
            Value::Float(_) => 1 << 63,
            _ => return self.fault(node, "must be an integer"),
        };
        if number < 0 {
            return self.fault(node, format!("{number} may not be negative"));
        }
        node.value = Value::Int(number & ((1 << bits) - 1));
    }

    fn number(&mut self, node: &mut Node) {
        let number = match &node.value {
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            Value::String(text) => match float::parse(text) {
                Some(number) => number,
                None => return self.fault(node, format!("{text:?} is no number")),
            },
            _ => return self.fault(node, "must be a number"),
        };
        node.value = Value::Float(number);
    }

    /// A number with a fraction counts for nothing, as it does for Docker Compose; a text may have one.
    fn bytes(&mut self, node: &mut Node) {
        let bytes = match &node.value {
            Value::Int(number) => *number,
            Value::String(text) => match byte_size::parse(text) {
                Ok(bytes) => i128::from(bytes),
                Err(wrong) => return self.fault(node, wrong),
            },
            Value::Float(_) => 0,
            _ => return self.fault(node, "must be a size"),
        };
        node.value = Value::String(bytes.to_string());
    }

    fn duration(&mut self, node: &mut Node) {
        let Value::String(text) = &node.value else { return self.fault(node, "must be a duration") };
        match duration::parse_signed(text) {
            Ok((negative, value)) => {
                let sign = if negative && !value.is_zero() { "-" } else { "" };
                node.value = Value::String(format!("{sign}{}", duration::go(value)));
            }
            Err(wrong) => self.fault(node, wrong),
        }
    }

    /// A map whose values are texts or integers, null being the empty text.
    fn plain_map(&mut self, node: &mut Node) {
        for (key, entry) in node.as_mapping_mut().into_iter().flat_map(Mapping::iter_mut) {
            self.path.push_key(key);
            match entry.node.value {
                _ if key.starts_with("x-") => self.fault(&entry.node, "an extension may not stand here"),
                Value::Null => entry.node.value = Value::String(String::new()),
                _ => self.text(&mut entry.node),
            }
            self.path.pop();
        }
    }

    fn environment(&mut self, node: &mut Node) {
        for item in node.as_sequence().unwrap_or_default() {
            let text = item.as_str().unwrap_or("");
            let key = text.split('=').next().unwrap_or(text);
            if key.ends_with(' ') {
                self.fault(item, format!("the variable {key:?} is declared with a trailing space"));
            }
        }
        pairs::to_map(node, Bare::Null);
    }

    fn command(&mut self, node: &mut Node) {
        let Value::String(line) = &node.value else { return };
        match command::split(line) {
            Ok(words) => {
                node.value = Value::Sequence(words.into_iter().map(|word| Node::string(&node.at, word)).collect());
            }
            Err(wrong) => {
                let message = format!("{}: invalid command line: {wrong}", self.path);
                let help = "write it as a list, or use `sh -c '…'`";
                self.found.push(Diagnostic::error(&node.at, message).help(help));
            }
        }
    }

    /// An integer of the file is what YAML made of it (`0440` is 288), a text is octal.
    fn mode(&mut self, node: &mut Node) {
        let mode = match &node.value {
            Value::Int(number) => *number,
            Value::String(text) => match i64::from_str_radix(text, 8) {
                Ok(number) => i128::from(number),
                Err(_) => return self.fault(node, format!("{text:?} is no octal number")),
            },
            _ => return self.fault(node, "must be an octal number"),
        };
        node.value = Value::String(format!("0{mode:o}"));
    }

    /// Text that is a number has become one before, where Docker Compose does that.
    fn ulimit(&mut self, node: &mut Node) {
        let both = node.as_mapping().map(|map| ["soft", "hard"].map(|key| map.get(key)));
        let limits: Vec<&Node> = both.map_or_else(|| vec![&*node], |both| both.into_iter().flatten().collect());
        for limit in limits {
            if !matches!(limit.value, Value::Int(_)) {
                self.fault(limit, "a limit must be an integer");
            }
        }
    }

    fn count(&mut self, node: &mut Node) {
        let count = match &node.value {
            Value::Int(number) => Some(*number),
            Value::String(text) if text.eq_ignore_ascii_case("all") => Some(-1),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match count {
            Some(count) => node.value = Value::Int(count),
            None => self.fault(node, "must be `all` or a number"),
        }
    }

    fn options(&mut self, node: &mut Node) {
        if let Some(map) = node.as_mapping_mut() {
            pairs::gather_extensions(map);
        }
        for (_, entry) in node.as_mapping_mut().into_iter().flat_map(Mapping::iter_mut) {
            let node = &mut entry.node;
            let list = match std::mem::replace(&mut node.value, Value::Null) {
                Value::Sequence(list) => list,
                value => vec![Node::new(&node.at, value)],
            };
            let texts = list.iter().map(|item| Node::string(&item.at, item.scalar_text().unwrap_or_default()));
            node.value = Value::Sequence(texts.collect());
        }
    }
}

/// `{default: null, id: path}` as the list that Compose reads: `[default, id=path]`.
fn keys(node: &mut Node) {
    let Some(map) = node.as_mapping() else { return };
    let mut lines: Vec<Node> = map
        .iter()
        .map(|(key, entry)| match entry.node.scalar_text() {
            Some(path) if !path.is_empty() => Node::string(&entry.node.at, format!("{key}={path}")),
            _ => Node::string(&entry.key_at, key),
        })
        .collect();
    lines.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    node.value = Value::Sequence(lines);
}
