//! Variables in values: every text of a document is substituted (keys never), and where Compose wants a number or a
//! boolean, the text that comes out becomes one.

pub(in crate::spec) mod template;

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, Location};
use super::environment::Environment;
use super::tree::{Node, Path, Value};
use crate::values::float;
use template::Fault;

/// Substitutes every text below `node`. Faults go to `found`; variables that are not set to `unset`.
pub(in crate::spec) fn apply(
    node: &mut Node,
    environment: &Environment,
    unset: &mut Unset,
    found: &mut Vec<Diagnostic>,
) {
    let mut walk = Walk { environment, unset, found };
    walk.node(node, &mut Path::root());
}

/// Variables that were used without being set, each with the places, so that each is warned of once.
#[derive(Debug, Default)]
pub(in crate::spec) struct Unset(BTreeMap<String, Vec<Location>>);

/// More places than this are only counted.
const PLACES: usize = 4;

impl Unset {
    fn add(&mut self, name: &str, at: Location) {
        let places = self.0.entry(name.to_owned()).or_default();
        if !places.contains(&at) {
            places.push(at);
        }
    }

    /// One warning a variable, worded as Docker Compose words it.
    pub(in crate::spec) fn warnings(self) -> Vec<Diagnostic> {
        let warning = |(name, places): (String, Vec<Location>)| {
            let message = format!("The {name:?} variable is not set. Defaulting to a blank string.");
            let mut places = places.into_iter();
            let mut warning = match places.next() {
                Some(first) => Diagnostic::warning(&first, message),
                None => Diagnostic::warning_nowhere(message),
            };
            for place in places.by_ref().take(PLACES) {
                warning = warning.note(Some(&place), "used here too");
            }
            match places.count() {
                0 => warning,
                more => warning.note(None, format!("and in {more} more places")),
            }
        };
        self.0.into_iter().map(warning).collect()
    }
}

struct Walk<'a> {
    environment: &'a Environment,
    unset: &'a mut Unset,
    found: &'a mut Vec<Diagnostic>,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, path: &mut Path) {
        match &mut node.value {
            Value::String(text) => {
                if let Some(value) = self.text(text, &node.at, path) {
                    node.value = value;
                }
            }
            Value::Sequence(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    path.push_item(n);
                    self.node(item, path);
                    path.pop();
                }
            }
            Value::Mapping(map) => {
                for (key, entry) in map.iter_mut() {
                    path.push_key(key);
                    self.node(&mut entry.node, path);
                    path.pop();
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
    }

    fn text(&mut self, text: &str, at: &Location, path: &Path) -> Option<Value> {
        let mut result = Ok(None);
        if text.contains('$') {
            let lookup = |name: &str| self.environment.get(name).map(str::to_owned);
            let unset = &mut *self.unset;
            result = template::substitute(text, &lookup, &mut |name, offset| {
                let braces = usize::from(text[offset..].starts_with("${")) * 2;
                unset.add(name, pinpoint(at, text, offset, 1 + name.len() + braces));
            })
            .map(Some);
        }
        match result {
            Ok(substituted) => {
                let value = substituted.as_deref().unwrap_or(text);
                match kind_at(path) {
                    Some(kind) => self.cast(value, kind, at, path),
                    None => substituted.map(Value::String),
                }
            }
            Err(fault) => {
                self.fault(&fault, text, at, path);
                None
            }
        }
    }

    fn fault(&mut self, fault: &Fault, text: &str, at: &Location, path: &Path) {
        let expression = text.get(fault.at()..).unwrap_or_default();
        let width = expression.find('}').map_or(1, |end| end + 1);
        let place = pinpoint(at, text, fault.at(), width);
        self.found.push(match fault {
            Fault::Invalid { .. } => Diagnostic::error(&place, format!("invalid interpolation format for {path}"))
                .help("escape a $ that is meant as such with another $"),
            Fault::Required { .. } | Fault::Deep { .. } => {
                Diagnostic::error(&place, format!("error while interpolating {path}: {fault}"))
            }
        });
    }

    fn cast(&mut self, text: &str, kind: Kind, at: &Location, path: &Path) -> Option<Value> {
        let value = match kind {
            Kind::Integer => text.parse::<i64>().ok().map(|value| Value::Int(value.into())),
            Kind::Float => float::parse(text).map(Value::Float),
            Kind::Boolean => match text.to_lowercase().as_str() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                "y" | "yes" | "on" => Some(self.old_boolean(text, true, at)),
                "n" | "no" | "off" => Some(self.old_boolean(text, false, at)),
                _ => None,
            },
        };
        if value.is_none() {
            let (wanted, hint) = match kind {
                Kind::Integer => ("a whole number", None),
                Kind::Float => ("a number", None),
                Kind::Boolean => ("a boolean", Some("write true or false")),
            };
            let message =
                format!("error while interpolating {path}: failed to cast to expected type: {text:?} is not {wanted}");
            let fault = Diagnostic::error(at, message);
            self.found.push(match hint {
                Some(hint) => fault.help(hint),
                None => fault,
            });
        }
        value
    }

    /// YAML 1.1 took these for booleans.
    fn old_boolean(&mut self, word: &str, value: bool, at: &Location) -> Value {
        let message = format!("{word:?} for boolean is not supported by YAML 1.2, please use `{value}`");
        self.found.push(Diagnostic::warning(at, message));
        Value::Bool(value)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Integer,
    Float,
    Boolean,
}

/// Where a text must become something else (compose-go's type cast mapping), as the end of `services.*.…`.
const OF_SERVICES: &[(&str, Kind)] = &[
    ("cpu_count", Kind::Integer),
    ("cpu_percent", Kind::Float),
    ("cpu_period", Kind::Integer),
    ("cpu_quota", Kind::Integer),
    ("cpu_rt_period", Kind::Integer),
    ("cpu_rt_runtime", Kind::Integer),
    ("cpus", Kind::Float),
    ("cpu_shares", Kind::Integer),
    ("init", Kind::Boolean),
    ("depends_on.*.restart", Kind::Boolean),
    ("deploy.replicas", Kind::Integer),
    ("deploy.update_config.parallelism", Kind::Integer),
    ("deploy.update_config.max_failure_ratio", Kind::Float),
    ("deploy.rollback_config.parallelism", Kind::Integer),
    ("deploy.rollback_config.max_failure_ratio", Kind::Float),
    ("deploy.restart_policy.max_attempts", Kind::Integer),
    ("deploy.placement.max_replicas_per_node", Kind::Integer),
    ("healthcheck.retries", Kind::Integer),
    ("healthcheck.disable", Kind::Boolean),
    ("oom_kill_disable", Kind::Boolean),
    ("oom_score_adj", Kind::Integer),
    ("pids_limit", Kind::Integer),
    ("ports.[].target", Kind::Integer),
    ("privileged", Kind::Boolean),
    ("read_only", Kind::Boolean),
    ("scale", Kind::Integer),
    ("stdin_open", Kind::Boolean),
    ("tty", Kind::Boolean),
    ("ulimits.*", Kind::Integer),
    ("ulimits.*.hard", Kind::Integer),
    ("ulimits.*.soft", Kind::Integer),
    ("volumes.[].read_only", Kind::Boolean),
    ("volumes.[].volume.nocopy", Kind::Boolean),
];

/// The same for the other sections.
const ELSEWHERE: &[(&str, Kind)] = &[
    ("networks.*.external", Kind::Boolean),
    ("networks.*.internal", Kind::Boolean),
    ("networks.*.attachable", Kind::Boolean),
    ("networks.*.enable_ipv4", Kind::Boolean),
    ("networks.*.enable_ipv6", Kind::Boolean),
    ("volumes.*.external", Kind::Boolean),
    ("secrets.*.external", Kind::Boolean),
    ("configs.*.external", Kind::Boolean),
];

fn kind_at(path: &Path) -> Option<Kind> {
    let (table, skip) = if path.starts_with_key("services") { (OF_SERVICES, 2) } else { (ELSEWHERE, 0) };
    table.iter().find(|(pattern, _)| path.matches_from(skip, pattern)).map(|(_, kind)| *kind)
}

/// The place of `offset` within a text that was written at `at`, if the text stands there as it is; else `at`.
pub(in crate::spec) fn pinpoint(at: &Location, text: &str, offset: usize, width: usize) -> Location {
    let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let column = at.column.saturating_sub(1) as usize;
    let Some(line) = at.file.line(at.line) else { return at.clone() };
    let written: String = line.chars().skip(column).collect();
    for quote in ["", "\"", "'"] {
        if written.strip_prefix(quote).is_some_and(|written| written.starts_with(text)) {
            let before = quote.len() + text.get(..offset).map_or(0, |text| text.chars().count());
            return Location { column: short(column + before + 1), width: short(width.max(1)), ..at.clone() };
        }
    }
    // A block's or a folded text: the line that has the expression.
    let expression: String = text.get(offset..).unwrap_or_default().chars().take(width.max(1)).collect();
    let lines = text.get(..offset).map_or(0, |before| before.matches('\n').count() + 1);
    for number in at.line..=at.line.saturating_add(short(lines)) {
        let found = at.file.line(number).and_then(|line| Some(line[..line.find(&expression)?].chars().count()));
        if let Some(column) = found.filter(|column| number > at.line || *column + 1 >= at.column as usize) {
            return Location { line: number, column: short(column + 1), width: short(width.max(1)), ..at.clone() };
        }
    }
    at.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::diagnostic::SourceFile;
    use crate::spec::environment::Origin;
    use crate::spec::tree::parse;

    fn run(text: &str) -> (Node, String) {
        let mut tree = parse(&SourceFile::new("f.yaml", text)).unwrap().remove(0);
        let mut environment = Environment::default();
        for (name, value) in [("V", "value"), ("N", "7"), ("YES", "yes")] {
            environment.fall_back(name, value.to_owned(), Origin::Process);
        }
        let (mut unset, mut found) = (Unset::default(), Vec::new());
        apply(&mut tree, &environment, &mut unset, &mut found);
        found.extend(unset.warnings());
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        (tree, told.join("\n"))
    }

    fn at<'t>(tree: &'t Node, keys: &[&str]) -> &'t Value {
        &keys.iter().fold(tree, |node, key| node.get(key).unwrap()).value
    }

    #[test]
    fn values_are_substituted_at_any_depth_and_keys_never() {
        let (tree, told) = run("a: [{$V: $V}]\n");
        let item = &tree.get("a").unwrap().as_sequence().unwrap()[0];
        assert_eq!(item.get("$V").unwrap().as_str(), Some("value"));
        assert_eq!(told, "");
    }

    #[test]
    fn a_text_becomes_a_number_or_boolean_where_compose_wants_one() {
        let (tree, told) = run("services: {a: {scale: $N, tty: 'true', cpus: '0.5', image: '1', ulimits: {x: '5'}}}\n");
        let service = |key| at(&tree, &["services", "a", key]);
        assert_eq!(service("scale"), &Value::Int(7));
        assert_eq!(service("tty"), &Value::Bool(true));
        assert_eq!(service("cpus"), &Value::Float(0.5));
        assert_eq!(service("image"), &Value::String("1".into()));
        assert_eq!(service("ulimits"), &tree.get("services").unwrap().get("a").unwrap().get("ulimits").unwrap().value);
        assert_eq!(at(&tree, &["services", "a", "ulimits", "x"]), &Value::Int(5));
        assert_eq!(told, "");
    }

    #[test]
    fn all_faults_are_told_at_once_with_the_expression_underlined() {
        insta::assert_snapshot!(run("services:\n  a:\n    image: \"x:${}\"\n    scale: $V\n    tty: $YES\n    user: ${U:?who}\n").1, @r#"
        f.yaml:3:15: error: invalid interpolation format for services.a.image
         3 |     image: "x:${}"
           |               ^^^
          = help: escape a $ that is meant as such with another $
        f.yaml:4:12: error: error while interpolating services.a.scale: failed to cast to expected type: "value" is not a whole number
         4 |     scale: $V
           |            ^^
        WARN "yes" for boolean is not supported by YAML 1.2, please use `true`
          --> f.yaml:5:10
         5 |     tty: $YES
           |          ^^^^
        f.yaml:6:11: error: error while interpolating services.a.user: required variable U is missing a value: who
         6 |     user: ${U:?who}
           |           ^^^^^^^^^
        "#);
    }

    #[test]
    fn an_unset_variable_is_warned_of_once_with_its_places() {
        insta::assert_snapshot!(run("a: x $U\nb: |\n  first\n  ${U} x\n").1, @r#"
        WARN The "U" variable is not set. Defaulting to a blank string.
          --> f.yaml:1:6
         1 | a: x $U
           |      ^^
          = note: used here too (f.yaml:4:3)
         4 |   ${U} x
           |   ^^^^
        "#);
    }
}
