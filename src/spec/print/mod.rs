//! The model as `config` prints it: what Docker Compose prints for it, and would read back to the same model.
//!
//! First the tree becomes an [`Out`], holding just what is to be seen in the order of printing; `json` and `yaml` write that.
//! Docker Compose's two forms differ in more than syntax: JSON shows `command: null` and `ipam: {}`, YAML shows `x-…`.

mod json;
mod order;
mod yaml;

use super::diagnostic::Diagnostic;
use super::schema::{Becomes, FILE, Field, Object, Others, Shown};
use super::tree::{Mapping, Node, Value};

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As a compose file.
    Yaml,
    /// Indented.
    Json,
}

/// What is to be seen.
#[derive(Debug, Clone, PartialEq)]
enum Out<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Single(f32),
    Double(f64),
    Text(&'a str),
    List(Vec<Out<'a>>),
    Map(Vec<(&'a str, Out<'a>)>),
}

/// The whole model; this is its name where the tree has none.
pub(in crate::spec) fn model(tree: &Node, name: &str, format: Format) -> Result<String, Diagnostic> {
    let empty = Mapping::default();
    let map = tree.as_mapping().unwrap_or(&empty);
    let name = map.get("name").and_then(Node::as_str).unwrap_or(name);
    let mut entries: Vec<(&str, Out<'_>)> = vec![("name", Out::Text(name))];
    for field in FILE.fields.iter().filter(|field| field.name != "name") {
        match (field.name, map.get(field.name)) {
            ("services", None) => entries.push(("services", Out::Map(Vec::new()))),
            (_, node) => entries.extend(shape_field(field, node, format)),
        }
    }
    extensions(map, format, &mut entries);
    if format == Format::Json {
        entries.sort_by_key(|(key, _)| *key);
    }
    // A value that has a dollar would be taken for a variable when read back.
    Ok(write(&Out::Map(entries), tree, format)?.replace('$', "$$"))
}

/// The tree as it is, keys sorted, for a model that was not interpolated.
pub(in crate::spec) fn raw(tree: &Node, format: Format) -> Result<String, Diagnostic> {
    write(&as_it_is(tree, format), tree, format)
}

/// A text as YAML has it, where it stands below a key.
pub fn scalar(text: &str) -> String {
    yaml::write(&Out::Text(text)).trim_end_matches('\n').to_owned()
}

/// Fails on what JSON can't say.
fn write(out: &Out<'_>, tree: &Node, format: Format) -> Result<String, Diagnostic> {
    match format {
        Format::Yaml => Ok(yaml::write(out)),
        Format::Json => json::indented(out).map_err(|Endless| {
            let message = "json: unsupported value: JSON has no infinity, nor what is no number";
            match endless(tree) {
                Some(node) => Diagnostic::error(&node.at, message),
                None => Diagnostic::error_nowhere(message),
            }
        }),
    }
}

/// A number that is none to JSON.
#[derive(Debug)]
struct Endless;

/// The first such number.
fn endless(node: &Node) -> Option<&Node> {
    match &node.value {
        Value::Float(number) => (!number.is_finite()).then_some(node),
        Value::Sequence(items) => items.iter().find_map(endless),
        Value::Mapping(map) => map.iter().find_map(|(_, entry)| endless(&entry.node)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::String(_) => None,
    }
}

fn shape_object<'a>(object: &'static Object, map: &'a Mapping, format: Format) -> Vec<(&'a str, Out<'a>)> {
    let mut entries: Vec<(&str, Out<'_>)> = Vec::with_capacity(map.len());
    for field in object.fields {
        entries.extend(shape_field(field, map.get(field.name), format));
    }
    if format == Format::Yaml && object.others == Others::Extensions {
        extensions(map, format, &mut entries);
    }
    entries
}

/// `x-…`, sorted.
fn extensions<'a>(map: &'a Mapping, format: Format, entries: &mut Vec<(&'a str, Out<'a>)>) {
    let mut extensions: Vec<(&str, &Node)> =
        map.iter().filter(|(key, _)| key.starts_with("x-")).map(|(key, entry)| (key, &entry.node)).collect();
    extensions.sort_by_key(|(key, _)| *key);
    entries.extend(extensions.into_iter().map(|(key, node)| (key, as_it_is(node, format))));
}

fn shape_field<'a>(field: &'static Field, node: Option<&'a Node>, format: Format) -> Option<(&'a str, Out<'a>)> {
    let json = format == Format::Json;
    let node = node.filter(|node| !node.is_null());
    let key = match field.shown {
        Shown::AlwaysAs(name) if json => name,
        _ => field.name,
    };
    let Some(node) = node else {
        let out = match (field.shown, &field.becomes) {
            (Shown::JsonAlways, _) if json => Out::Null,
            (Shown::JsonEmptyMap, Becomes::Object(object)) if json => Out::Map(nothing(object)),
            (Shown::Always | Shown::AlwaysAs(_), Becomes::Bytes) => Out::Text("0"),
            (Shown::Always | Shown::AlwaysAs(_), Becomes::Integer | Becomes::Unsigned(_)) => Out::Int(0),
            (Shown::Always | Shown::AlwaysAs(_), _) => Out::Text(""),
            _ => return None,
        };
        return Some((key, out));
    };
    let out = shape(&field.becomes, node, format);
    let seen = match field.shown {
        Shown::Never => false,
        Shown::YamlOnly => !json && !is_zero(&out, &field.becomes),
        Shown::JsonEmptyMap if json => true,
        Shown::UnlessZero | Shown::JsonEmptyMap => !is_zero(&out, &field.becomes),
        Shown::WhenSet | Shown::JsonAlways | Shown::Always | Shown::AlwaysAs(_) => true,
    };
    seen.then_some((key, out))
}

/// What JSON shows of a map that is not there.
fn nothing(object: &'static Object) -> Vec<(&'static str, Out<'static>)> {
    object.fields.iter().filter_map(|field| shape_field(field, None, Format::Json)).collect()
}

fn shape<'a>(becomes: &'static Becomes, node: &'a Node, format: Format) -> Out<'a> {
    match (becomes, &node.value) {
        (Becomes::Object(object), Value::Mapping(map)) => Out::Map(shape_object(object, map, format)),
        (Becomes::List(items), Value::Sequence(list)) => {
            Out::List(list.iter().map(|item| shape(items, item, format)).collect())
        }
        (Becomes::Named(values) | Becomes::Map(values), Value::Mapping(map)) => {
            sorted(map, format, |node| if node.is_null() { Out::Null } else { shape(values, node, format) })
        }
        (Becomes::Number, Value::Float(number)) => Out::Single(*number as f32),
        (Becomes::Ulimit, value) => match value {
            Value::Mapping(map) => limit(map.get("soft"), map.get("hard"), format),
            Value::Int(0) => limit(None, None, format),
            _ => as_it_is(node, format),
        },
        _ => as_it_is(node, format),
    }
}

/// Two limits; JSON leaves out what is zero.
fn limit<'a>(soft: Option<&'a Node>, hard: Option<&'a Node>, format: Format) -> Out<'a> {
    let limit = |node: Option<&'a Node>| node.map_or(Out::Int(0), |node| as_it_is(node, format));
    let both = [("soft", limit(soft)), ("hard", limit(hard))].into_iter();
    Out::Map(both.filter(|(_, limit)| format == Format::Yaml || *limit != Out::Int(0)).collect())
}

fn as_it_is(node: &Node, format: Format) -> Out<'_> {
    match &node.value {
        Value::Null => Out::Null,
        Value::Bool(yes) => Out::Bool(*yes),
        Value::Int(number) => Out::Int(*number),
        Value::Float(number) => Out::Double(*number),
        Value::String(text) => Out::Text(text),
        Value::Sequence(list) => Out::List(list.iter().map(|item| as_it_is(item, format)).collect()),
        Value::Mapping(map) => sorted(map, format, |node| as_it_is(node, format)),
    }
}

fn sorted<'a>(map: &'a Mapping, format: Format, out: impl Fn(&'a Node) -> Out<'a>) -> Out<'a> {
    let entries = map.iter().map(|(key, entry)| (key, &entry.node));
    let entries = match format {
        Format::Yaml => order::natural(entries),
        Format::Json => {
            let mut entries: Vec<(&str, &Node)> = entries.collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            entries
        }
    };
    Out::Map(entries.into_iter().map(|(key, node)| (key, out(node))).collect())
}

/// What Go calls empty.
fn is_zero(out: &Out<'_>, becomes: &Becomes) -> bool {
    match out {
        Out::Null | Out::Bool(false) | Out::Int(0) => true,
        Out::Bool(true) | Out::Int(_) => false,
        Out::Single(number) => *number == 0.0,
        Out::Double(number) => *number == 0.0,
        Out::Text(text) => match becomes {
            Becomes::Bytes => *text == "0",
            Becomes::Duration => *text == "0s",
            _ => text.is_empty(),
        },
        Out::List(list) => list.is_empty(),
        Out::Map(entries) => entries.is_empty(),
    }
}

/// A number as Go's `strconv` writes the shortest text that reads back the same; `small` and `large` are the powers of ten
/// below and from which it has an exponent. `scientific` is Rust's `{:e}`, which has those same digits.
fn go_number(scientific: &str, small: i32, large: i32) -> (String, bool) {
    let (sign, rest) = match scientific.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", scientific),
    };
    let (mantissa, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < small || exponent >= large {
        let direction = if exponent < 0 { '-' } else { '+' };
        return (format!("{sign}{mantissa}e{direction}{:02}", exponent.abs()), true);
    }
    let digits = mantissa.replace('.', "");
    let text = if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        format!("0.{zeros}{digits}")
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            format!("{digits}{}", "0".repeat(whole - digits.len()))
        } else {
            format!("{}.{}", &digits[..whole], &digits[whole..])
        }
    };
    (format!("{sign}{text}"), false)
}
