//! How two documents become one: the later over the earlier, by one table of paths.
//!
//! Without a rule of its own, a map merges key by key, a list is appended to, and a scalar is replaced. `!reset` and
//! `!override` take away what was merged before, ahead of the merge itself; what makes two entries of a list the same is
//! in [`super::unique`].

use super::diagnostic::{Diagnostic, Location};
use super::tree::{Entry, Mapping, Node, Path, Step, Tag, Value};

/// A rule for one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The later counts, the earlier is forgotten.
    Replace,
    /// Both become lists (`K=V` for maps), the later behind the earlier.
    List,
    /// The same, without what is there already.
    NewOnly,
    /// Lists become maps of their items, each with what a bare name means.
    Keyed(Bare),
    /// A bare text is the build context.
    Build,
    /// Options of one driver don't go with another.
    Logging,
    /// Items with the same subnet are one.
    Subnets,
}

/// What a bare name in a list means once the list is a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bare {
    Null,
    Started,
}

/// Path → rule. Whatever is not here goes by its kind (compose-spec, "Merge and override").
const RULES: &[(&str, Rule)] = &[
    ("networks.*.ipam.config", Rule::Subnets),
    ("networks.*.labels", Rule::List),
    ("volumes.*.labels", Rule::List),
    ("services.*.annotations", Rule::List),
    ("services.*.build", Rule::Build),
    ("services.*.build.args", Rule::List),
    ("services.*.build.additional_contexts", Rule::List),
    ("services.*.build.extra_hosts", Rule::NewOnly),
    ("services.*.build.labels", Rule::List),
    ("services.*.command", Rule::Replace),
    ("services.*.depends_on", Rule::Keyed(Bare::Started)),
    ("services.*.deploy.labels", Rule::List),
    ("services.*.dns", Rule::List),
    ("services.*.dns_opt", Rule::List),
    ("services.*.dns_search", Rule::List),
    ("services.*.entrypoint", Rule::Replace),
    ("services.*.env_file", Rule::List),
    ("services.*.label_file", Rule::List),
    ("services.*.environment", Rule::List),
    ("services.*.extra_hosts", Rule::NewOnly),
    ("services.*.healthcheck.test", Rule::Replace),
    ("services.*.labels", Rule::List),
    ("services.*.volumes.*.volume.labels", Rule::List),
    ("services.*.logging", Rule::Logging),
    ("services.*.models", Rule::Keyed(Bare::Null)),
    ("services.*.networks", Rule::Keyed(Bare::Null)),
    ("services.*.sysctls", Rule::List),
    ("services.*.tmpfs", Rule::List),
    ("services.*.ulimits.*", Rule::Replace),
];

/// Merges `later`, a whole document, over `model`.
pub(in crate::spec) fn document(model: &mut Node, later: Node, found: &mut Vec<Diagnostic>) {
    merge(model, later, &mut Path::root(), found);
}

/// Merges a service over the one it extends.
pub(in crate::spec) fn service(base: &mut Node, later: Node, name: &str, found: &mut Vec<Diagnostic>) {
    merge(base, later, &mut Path::root().key("services").key(name), found);
}

fn merge(base: &mut Node, later: Node, path: &mut Path, found: &mut Vec<Diagnostic>) {
    let rule = RULES.iter().find(|(pattern, _)| path.matches(pattern)).map(|(_, rule)| *rule);
    match rule {
        Some(Rule::Replace) => *base = later,
        Some(Rule::List) => {
            let mut items = to_list(std::mem::replace(&mut base.value, Value::Null), &base.at);
            items.extend(to_list(later.value, &later.at));
            *base = Node::new(&later.at, Value::Sequence(items));
        }
        Some(Rule::NewOnly) => {
            let mut items = to_list(std::mem::replace(&mut base.value, Value::Null), &base.at);
            let known = items.len();
            for item in to_list(later.value, &later.at) {
                if !items[..known].iter().any(|old| old.same(&item)) {
                    items.push(item);
                }
            }
            *base = Node::new(&later.at, Value::Sequence(items));
        }
        Some(Rule::Keyed(bare)) => {
            let old = to_map(std::mem::replace(base, Node::new(&later.at, Value::Null)), bare);
            base.value = Value::Mapping(old);
            let at = later.at.clone();
            merge_kinds(base, Node::new(&at, Value::Mapping(to_map(later, bare))), path, found);
        }
        Some(Rule::Build) => {
            wrap_context(base);
            let mut later = later;
            wrap_context(&mut later);
            merge_kinds(base, later, path, found);
        }
        Some(Rule::Logging) => {
            let driver = |node: &Node| node.get("driver").and_then(Node::scalar_text);
            match (driver(base), driver(&later)) {
                (Some(old), Some(new)) if old != new => *base = later,
                (Some(_) | None, Some(_) | None) => merge_kinds(base, later, path, found),
            }
        }
        Some(Rule::Subnets) => subnets(base, later, path, found),
        None => merge_kinds(base, later, path, found),
    }
}

/// Maps merge, lists append, scalars replace; null takes nothing away.
fn merge_kinds(base: &mut Node, later: Node, path: &mut Path, found: &mut Vec<Diagnostic>) {
    if later.is_null() {
        return;
    }
    match (&mut base.value, later.value) {
        (Value::Mapping(base), Value::Mapping(later)) => merge_maps(base, later, path, found),
        (Value::Sequence(items), Value::Sequence(more)) => items.extend(more),
        (old @ (Value::Mapping(_) | Value::Sequence(_)), new) => {
            let (old, new) = (kind(old), kind(&new));
            let fault = Diagnostic::error(&later.at, format!("cannot override {path}: it is {old}, and here {new}"));
            found.push(fault.note(Some(&base.at), format!("{old} here")));
        }
        (_, value) => *base = Node { value, at: later.at, tag: later.tag },
    }
}

fn merge_maps(base: &mut Mapping, later: Mapping, path: &mut Path, found: &mut Vec<Diagnostic>) {
    for (key, entry) in later {
        match base.get_mut(&key) {
            Some(old) => {
                path.push_key(&key);
                merge(old, entry.node, path, found);
                path.pop();
            }
            None => {
                base.insert(key, entry.key_at, entry.node);
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Mapping(_) => "a mapping",
        Value::Sequence(_) => "a list",
        Value::Null => "null",
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => "a single value",
    }
}

/// A map as `K=V`, sorted as Go sorts; a text as a list of itself.
fn to_list(value: Value, at: &Location) -> Vec<Node> {
    match value {
        Value::Sequence(items) => items,
        Value::Mapping(map) => {
            let pair = |key: &str, node: &Node, key_at: &Location| match (node.is_null(), node.scalar_text()) {
                (true, _) => Node::string(key_at, key),
                (false, Some(value)) => Node::string(&node.at, format!("{key}={value}")),
                // Left as it is for the schema to complain of.
                (false, None) => node.clone(),
            };
            let mut items = Vec::new();
            for (key, Entry { key_at, node }) in map {
                match node.as_sequence() {
                    // Several addresses of a host.
                    Some(values) => items.extend(values.iter().map(|value| pair(&key, value, &key_at))),
                    None => items.push(pair(&key, &node, &key_at)),
                }
            }
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            items
        }
        Value::String(text) => vec![Node::string(at, text)],
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Vec::new(),
    }
}

fn to_map(node: Node, bare: Bare) -> Mapping {
    match node.value {
        Value::Mapping(map) => map,
        Value::Sequence(items) => items
            .into_iter()
            .filter_map(|item| {
                let name = item.as_str()?.to_owned();
                let value = match bare {
                    Bare::Null => Value::Null,
                    Bare::Started => Value::Mapping(
                        [
                            ("condition", Node::string(&item.at, "service_started")),
                            ("required", Node::new(&item.at, Value::Bool(true))),
                        ]
                        .into_iter()
                        .map(|(key, node)| (key.to_owned(), Entry { key_at: item.at.clone(), node }))
                        .collect(),
                    ),
                };
                Some((name, Entry { key_at: item.at.clone(), node: Node::new(&item.at, value) }))
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => Mapping::default(),
    }
}

fn wrap_context(build: &mut Node) {
    if build.as_str().is_some() {
        let context = std::mem::replace(build, Node::new(&build.at, Value::Null));
        let mut map = Mapping::default();
        map.insert("context", context.at.clone(), context);
        build.value = Value::Mapping(map);
    }
}

fn subnets(base: &mut Node, later: Node, path: &mut Path, found: &mut Vec<Diagnostic>) {
    let (Value::Sequence(items), Value::Sequence(more)) = (&mut base.value, &later.value) else {
        return merge_kinds(base, later, path, found);
    };
    let subnet = |node: &Node| node.get("subnet").and_then(Node::scalar_text);
    for (n, item) in more.iter().enumerate() {
        let same = items.iter_mut().find(|old| subnet(old).is_some() && subnet(old) == subnet(item));
        match same {
            Some(old) => {
                path.push_item(n);
                merge_kinds(old, item.clone(), path, found);
                path.pop();
            }
            None => items.push(item.clone()),
        }
    }
}

/// What a document asks to be taken away before it is merged: the paths of its `!reset` and `!override` tags.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::spec) struct Resets(Vec<Path>);

impl Resets {
    /// Takes what is tagged `!reset` out of the document, and notes where that and each `!override` stood.
    pub(in crate::spec) fn take(document: &mut Node) -> Self {
        let mut resets = Self::default();
        resets.walk(document, &mut Path::root());
        resets
    }

    fn walk(&mut self, node: &mut Node, path: &mut Path) {
        if node.tag.take() == Some(Tag::Override) {
            self.0.push(path.clone());
        }
        match &mut node.value {
            Value::Mapping(map) => map.retain(|key, entry| {
                path.push_key(key);
                let kept = self.keep(&mut entry.node, path);
                path.pop();
                kept
            }),
            Value::Sequence(items) => {
                let mut n = 0;
                items.retain_mut(|item| {
                    path.push_item(n);
                    n += 1;
                    let kept = self.keep(item, path);
                    path.pop();
                    kept
                });
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
        }
    }

    fn keep(&mut self, node: &mut Node, path: &mut Path) -> bool {
        if node.tag == Some(Tag::Reset) {
            self.0.push(path.clone());
            return false;
        }
        self.walk(node, path);
        true
    }

    /// Takes away what was merged before.
    pub(in crate::spec) fn apply(&self, model: &mut Node) {
        for path in &self.0 {
            remove(model, path.steps());
        }
    }

    /// Takes away from the base of service `name`.
    pub(in crate::spec) fn apply_to_service(&self, name: &str, service: &mut Node) {
        for path in &self.0 {
            if let [Step::Key(section), Step::Key(key), below @ ..] = path.steps()
                && section == "services"
                && key == name
            {
                remove(service, below);
            }
        }
    }
}

/// List items stay: a place in a list means nothing in another list.
fn remove(node: &mut Node, steps: &[Step]) {
    match (steps, &mut node.value) {
        ([Step::Key(key)], Value::Mapping(map)) => {
            map.remove(key);
        }
        ([Step::Key(key), below @ ..], Value::Mapping(map)) => {
            if let Some(next) = map.get_mut(key) {
                remove(next, below);
            }
        }
        ([Step::Item(n), below @ ..], Value::Sequence(items)) if !below.is_empty() => {
            if let Some(next) = items.get_mut(*n) {
                remove(next, below);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::load::testing::shown;
    use crate::spec::tree::parse;
    use proptest::prelude::*;

    use super::*;
    use crate::spec::diagnostic::SourceFile;

    /// Attribute of service `a` after merging files whose service `a` is as given.
    fn attribute(files: &[&str], name: &str) -> Result<String, String> {
        let texts: Vec<(String, String)> = files
            .iter()
            .enumerate()
            .map(|(n, text)| (format!("{n}.yaml"), format!("services: {{a: {{{text}}}}}\n")))
            .collect();
        let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let more: Vec<&str> = files.iter().skip(1).map(|(name, _)| *name).collect();
        shown(&files, &more, &format!("services.a.{name}"))
    }

    fn merged(files: &[&str], name: &str) -> String {
        attribute(files, name).unwrap()
    }

    #[test]
    fn scalars_are_replaced_and_null_takes_nothing_away() {
        assert_eq!(merged(&["image: x, user: u", "image: y, user: "], "image"), "y");
        assert_eq!(merged(&["image: x, user: u", "image: y, user: "], "user"), "u");
    }

    #[test]
    fn commands_are_replaced_and_other_lists_appended() {
        assert_eq!(merged(&["image: x, command: [a, b]", "command: [c]"], "command"), "[c]");
        assert_eq!(merged(&["image: x, security_opt: [a]", "security_opt: [b]"], "security_opt"), "[a, b]");
    }

    #[test]
    fn environment_and_labels_merge_by_key_whatever_their_form() {
        let files = ["image: x, environment: {B: 1, A: 2}", "environment: ['B=3', C]"];
        assert_eq!(merged(&files, "environment"), "[A=2, B=3, C]");
    }

    #[test]
    fn one_dns_server_or_many_are_one_list() {
        assert_eq!(merged(&["image: x, dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]"], "dns"), "[1.1.1.1, 8.8.8.8]");
    }

    #[test]
    fn a_host_may_have_several_addresses_but_none_twice() {
        let files = ["image: x, extra_hosts: {h: 1.1.1.1}", "extra_hosts: ['h=1.1.1.1', 'h=2.2.2.2']"];
        assert_eq!(merged(&files, "extra_hosts"), "[h=1.1.1.1, h=2.2.2.2]");
        let files = ["image: x, extra_hosts: {h: 1.1.1.1}", "extra_hosts: {h: [1.1.1.1, 2.2.2.2]}"];
        assert_eq!(merged(&files, "extra_hosts"), "[h=1.1.1.1, h=2.2.2.2]");
    }

    #[test]
    fn dependencies_and_networks_merge_as_maps() {
        let files = [
            "image: x, depends_on: [b]",
            "depends_on: {b: {condition: service_healthy}, c: {condition: service_started}}",
        ];
        let all = "{b: {condition: service_healthy, required: true}, c: {condition: service_started, required: true}}";
        assert_eq!(merged(&files, "depends_on"), all);
        let files = ["image: x, networks: [m, n]", "networks: {n: {aliases: [y]}}"];
        assert_eq!(merged(&files, "networks"), "{m: null, n: {aliases: [y]}}");
    }

    #[test]
    fn a_bare_build_is_its_context() {
        assert_eq!(merged(&["build: ./x", "build: {target: t}"], "build"), "{context: DIR/x, target: t}");
    }

    #[test]
    fn logging_options_stay_with_their_driver() {
        let same = ["image: x, logging: {driver: d, options: {a: '1'}}", "logging: {options: {b: '2'}}"];
        assert_eq!(merged(&same, "logging"), "{driver: d, options: {a: 1, b: 2}}");
        let other = ["image: x, logging: {driver: d, options: {a: '1'}}", "logging: {driver: e}"];
        assert_eq!(merged(&other, "logging"), "{driver: e}");
    }

    #[test]
    fn one_limit_replaces_another_as_a_whole() {
        let files = ["image: x, ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}", "ulimits: {nofile: 5}"];
        assert_eq!(merged(&files, "ulimits"), "{nofile: 5, nproc: 3}");
    }

    #[test]
    fn reset_takes_a_key_away_and_override_puts_its_own_in_place() {
        let base = "image: x, ports: ['1:1'], command: [a], labels: {k: v}, environment: {A: 1, B: 2}";
        let over = "ports: !override ['2:2'], command: !reset null, environment: {A: !reset null}";
        assert_eq!(merged(&[base, over], "command"), "absent");
        assert_eq!(merged(&[base, over], "environment"), "[B=2]");
        assert!(merged(&[base, over], "ports").starts_with("[{mode: ingress, protocol: tcp, published: 2, target: 2"));
        assert_eq!(merged(&[base, "labels: !reset {}"], "labels"), "absent");
        assert_eq!(merged(&["image: x, cap_add: [A, !reset B]"], "cap_add"), "[A]");
    }

    #[test]
    fn a_mount_on_the_same_target_takes_the_place_of_the_earlier() {
        let all = merged(&["image: x, volumes: ['./x:/x', 'vol:/v']", "volumes: ['./y:/x:ro']"], "volumes");
        assert!(
            all.starts_with(
                "[{bind: {create_host_path: true}, read_only: true, source: DIR/y, target: /x, type: bind}, {source: vol"
            ),
            "{all}"
        );
    }

    #[test]
    fn kinds_that_do_not_merge_name_both_places() {
        insta::assert_snapshot!(attribute(&["image: x, healthcheck: {interval: 5s}", "healthcheck: [x]"], "").unwrap_err(), @r"
        1.yaml:1:29: error: cannot override services.a.healthcheck: it is a mapping, and here a list
         1 | services: {a: {healthcheck: [x]}}
           |                             ^^^
          = note: a mapping here (0.yaml:1:39)
         1 | services: {a: {image: x, healthcheck: {interval: 5s}}}
           |                                       ^^^^^^^^^^^^^^
        ");
    }

    #[test]
    fn documents_of_one_file_merge_like_files() {
        let text = "services: {a: {image: x, user: u}}\n---\nservices: {a: {image: y}}\n";
        assert_eq!(shown(&[("c.yaml", text)], &[], "services.a").unwrap(), "{image: y, user: u}");
    }

    /// Documents of maps and scalars, where merging is associative: lists are appended to, and null is nothing.
    fn document_text() -> impl Strategy<Value = String> {
        let scalar = prop_oneof!["[a-z]{1,3}", Just("[p]".to_owned()), Just("null".to_owned())];
        let leaf = prop::collection::btree_map("[a-c]", scalar, 0..4).prop_map(|map| flow(&map));
        prop::collection::btree_map("x-[a-c]", leaf, 0..4).prop_map(|map| flow(&map))
    }

    fn flow(map: &std::collections::BTreeMap<String, String>) -> String {
        format!("{{{}}}", map.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", "))
    }

    fn read(text: &str) -> Node {
        parse(&SourceFile::new("f", text)).unwrap().remove(0)
    }

    fn over(mut base: Node, later: Node) -> Option<Node> {
        let mut found = Vec::new();
        document(&mut base, later, &mut found);
        found.is_empty().then_some(base)
    }

    proptest! {
        #[test]
        fn merging_is_associative_where_it_succeeds(a in document_text(), b in document_text(), c in document_text()) {
            let (a, b, c) = (read(&a), read(&b), read(&c));
            let left = over(a.clone(), b.clone()).and_then(|ab| over(ab, c.clone()));
            let right = over(b, c).and_then(|bc| over(a, bc));
            if let (Some(left), Some(right)) = (left, right) {
                prop_assert!(left.same(&right), "{left:?}\n{right:?}");
            }
        }

        #[test]
        fn nothing_merged_over_a_document_changes_it(a in document_text()) {
            let a = read(&a);
            let nothing = read("{}");
            prop_assert!(over(a.clone(), nothing.clone()).unwrap().same(&a));
            prop_assert!(over(nothing, a.clone()).unwrap().same(&a));
        }
    }
}
