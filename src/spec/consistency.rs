//! What needs the whole: names that lead nowhere, values that contradict each other, cycles, clashes (compose-spec, §13.2).

use std::collections::{BTreeMap, HashMap};

use super::check::{is_external, items, things};
use super::diagnostic::{Diagnostic, Location, Severity};
use super::select::references;
use super::tree::{Entry, Mapping, Node, Value};

/// Adds a fault to `found` for each thing of a settled model that does not fit the rest. Where `scale` is given beside
/// `deploy`, `deploy.replicas` is made to say the same.
pub(in crate::spec) fn check(model: &mut Node, disabled: &Mapping, found: &mut Vec<Diagnostic>) {
    let services: HashMap<&str, &Node> = model
        .get("services")
        .and_then(Node::as_mapping)
        .into_iter()
        .flat_map(Mapping::iter)
        .map(|(name, entry)| (name, &entry.node))
        .collect();
    let whole = Whole { model, services: &services, disabled };
    for (name, entry) in model.get("services").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
        if let Some(service) = entry.node.as_mapping() {
            Checker { name, at: &entry.key_at, node: &entry.node, service, whole: &whole, found }.check();
        }
    }
    secrets(model, found);
    if found.iter().all(|one| one.severity != Severity::Error) {
        cycles(model, found);
    }
    same_replicas(model);
}

struct Whole<'a> {
    model: &'a Node,
    services: &'a HashMap<&'a str, &'a Node>,
    disabled: &'a Mapping,
}

struct Checker<'a> {
    name: &'a str,
    at: &'a Location,
    node: &'a Node,
    service: &'a Mapping,
    whole: &'a Whole<'a>,
    found: &'a mut Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    fn check(&mut self) {
        let named = self.text(&["image"]).is_some();
        if !named && !self.service.contains("build") && !self.service.contains("provider") {
            let message = format!("service {:?} has neither an image nor a build context specified", self.name);
            self.found.push(Diagnostic::error(self.at, message));
        }
        self.build();
        self.references();
        self.dependencies();
        self.healthcheck();
        self.said_twice();
        self.scale();
        self.watch();
        self.targets();
    }

    fn get(&self, path: &[&str]) -> Option<&'a Node> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.service.get(first)?, |node, key| node.get(key)).filter(|node| !node.is_null())
    }

    fn text(&self, path: &[&str]) -> Option<&'a str> {
        self.get(path).and_then(Node::as_str).filter(|text| !text.is_empty())
    }

    fn fault(&mut self, at: &Location, message: String) {
        self.found.push(Diagnostic::error(at, message));
    }

    fn build(&mut self) {
        let name = self.name;
        let Some(build) = self.service.get("build") else { return };
        let given = |key| build.get(key).filter(|node| node.as_str().is_some_and(|text| !text.is_empty()));
        if let (Some(file), Some(inline)) = (given("dockerfile"), given("dockerfile_inline")) {
            let message = format!("service {name:?} declares mutually exclusive dockerfile and dockerfile_inline");
            self.found.push(Diagnostic::error(&inline.at, message).note(Some(&file.at), "`dockerfile` is here"));
        }
        let contexts = build.get("additional_contexts").and_then(Node::as_mapping);
        for (context, entry) in contexts.into_iter().flat_map(Mapping::iter) {
            let Some(other) = entry.node.as_str().and_then(|text| text.strip_prefix("service:")) else { continue };
            let at = entry.node.at.clone();
            match self.whole.services.get(other) {
                None => {
                    let message =
                        format!("service {name:?} declares unknown service {other:?} as additional contexts {context}");
                    let known = self.whole.services.keys().copied();
                    self.found.push(Diagnostic::error(&at, message).did_you_mean(other, known));
                }
                Some(service) if service.get("build").is_none() => {
                    let message = format!(
                        "service {name:?} declares non-buildable service {other:?} as additional contexts {context}"
                    );
                    self.fault(&at, message);
                }
                Some(_) => {}
            }
        }
        let mut platforms = items(build.get("platforms")).peekable();
        if let Some(platform) = self.text(&["platform"])
            && let Some(first) = platforms.peek().map(|first| first.at.clone())
            && !platforms.any(|one| one.as_str() == Some(platform))
        {
            let message = format!("service {name:?}: build.platforms must include the service's platform {platform:?}");
            self.fault(&first, message);
        }
    }

    fn references(&mut self) {
        if let (Some(mode), Some(networks)) = (self.get(&["network_mode"]), self.service.entry("networks"))
            && networks.node.as_mapping().is_some_and(|map| !map.is_empty())
        {
            let message = format!("service {:?} declares mutually exclusive `network_mode` and `networks`", self.name);
            let fault = Diagnostic::error(&networks.key_at, message).note(Some(&mode.at), "`network_mode` is here");
            self.found.push(fault);
        }
        for (kind, word) in [
            ("networks", "network"),
            ("volumes", "volume"),
            ("configs", "config"),
            ("secrets", "secret"),
            ("models", "model"),
        ] {
            let known = self.whole.model.get(kind).and_then(Node::as_mapping);
            for (key, node) in references(self.node, kind) {
                if known.is_some_and(|map| map.contains(key)) {
                    continue;
                }
                let at = if node.is_null() { self.place_of(kind, key) } else { &node.at };
                let message = format!("service {:?} refers to undefined {word} {key}", self.name);
                let fault = Diagnostic::error(at, message);
                let fault = match known {
                    Some(map) => fault.did_you_mean(key, map.keys()),
                    None => fault,
                };
                let help = match fault.help {
                    None => fault.help(format!("define it under the top-level `{kind}:`")),
                    Some(_) => fault,
                };
                self.found.push(help);
            }
        }
    }

    /// Where the service names a network or model that it says nothing else of.
    fn place_of(&self, kind: &str, key: &str) -> &'a Location {
        let map = self.service.get(kind).and_then(Node::as_mapping);
        map.and_then(|map| map.entry(key)).map_or(self.at, |entry| &entry.key_at)
    }

    fn dependencies(&mut self) {
        for (other, entry) in
            self.service.get("depends_on").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter)
        {
            if self.whole.services.contains_key(other) {
                continue;
            }
            let required = !matches!(entry.node.get("required"), Some(Node { value: Value::Bool(false), .. }));
            let message = format!("service {:?} depends on undefined service {other:?}", self.name);
            let fault = Diagnostic::error(&entry.key_at, message);
            match self.whole.disabled.get(other) {
                Some(_) if !required => {}
                Some(disabled) => {
                    let profiles: Vec<&str> = items(disabled.get("profiles")).filter_map(Node::as_str).collect();
                    let help =
                        format!("its profiles are not active: use --profile {}", profiles.join(" or --profile "));
                    self.found.push(fault.help(help));
                }
                None => {
                    let known = self.whole.services.keys().copied();
                    self.found.push(fault.did_you_mean(other, known));
                }
            }
        }
    }

    fn healthcheck(&mut self) {
        if let Some(first) = items(self.get(&["healthcheck", "test"])).next()
            && !matches!(first.as_str(), Some("CMD" | "CMD-SHELL" | "NONE"))
        {
            let message = format!(
                "services.{}: healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"",
                self.name
            );
            let fault = Diagnostic::error(&first.at, message).help("or write it as one text, which a shell runs");
            self.found.push(fault);
        }
    }

    /// The same limit in its old and its new place must be the same.
    fn said_twice(&mut self) {
        const PAIRS: [(&str, &str, &str); 4] = [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("pids_limit", "limits", "pids"),
            ("mem_reservation", "reservations", "memory"),
        ];
        for (old, section, new) in PAIRS {
            let Some(one) = self.get(&[old]).filter(|node| !is_zero(node)) else { continue };
            let Some(there) = self.get(&["deploy", "resources", section]) else { continue };
            let other = there.get(new);
            // Where the section says nothing of it, that counts as zero.
            if other.is_some_and(|other| other.value == one.value) {
                continue;
            }
            let message = format!(
                "services.{}: can't set distinct values on '{old}' and 'deploy.resources.{section}.{new}'",
                self.name
            );
            let there = other.unwrap_or(there);
            let fault = Diagnostic::error(&one.at, message).note(Some(&there.at), "the other is here");
            self.found.push(fault);
        }
    }

    fn scale(&mut self) {
        let counts: Vec<(&str, i128, Location)> =
            [("scale", &["scale"][..]), ("deploy.replicas", &["deploy", "replicas"])]
                .into_iter()
                .filter_map(|(words, path)| {
                    let node = self.get(path)?;
                    if let Value::Int(count) = node.value { Some((words, count, node.at.clone())) } else { None }
                })
                .collect();
        for (words, count, at) in &counts {
            if *count < 0 {
                self.fault(at, format!("services.{}.{words}: must be greater than or equal to 0", self.name));
            }
            if *count > 1 && self.text(&["container_name"]).is_some() {
                let message = format!(
                    "services.{}.{words}: can't set container_name, as {count} containers can't share a name",
                    self.name
                );
                self.fault(at, message);
            }
        }
        if let [(_, scale, at), (_, replicas, other)] = &counts[..]
            && scale != replicas
        {
            let message = format!("services.{}: can't set distinct values on 'scale' and 'deploy.replicas'", self.name);
            self.found.push(Diagnostic::error(at, message).note(Some(other), "the other is here"));
        }
    }

    fn watch(&mut self) {
        let mut faults = Vec::new();
        for rule in items(self.get(&["develop", "watch"])) {
            let text = |key| rule.get(key).and_then(Node::as_str).unwrap_or("");
            if !matches!(text("action"), "rebuild" | "restart") && text("target").is_empty() {
                let message =
                    format!("services.{}.develop.watch: target is required for non-rebuild actions", self.name);
                faults.push(Diagnostic::error(&rule.at, message));
            }
        }
        self.found.append(&mut faults);
    }

    /// No two mounts at one place.
    fn targets(&mut self) {
        let mut taken: BTreeMap<String, (String, Location)> = BTreeMap::new();
        let mut faults = Vec::new();
        let tmpfs = items(self.service.get("tmpfs")).filter_map(|item| {
            let text = item.as_str()?;
            Some((text.split(':').next().unwrap_or(text).to_owned(), item))
        });
        let mounts = items(self.service.get("volumes"))
            .filter_map(|item| Some((item.get("target").and_then(Node::as_str)?.to_owned(), item)));
        let all = tmpfs
            .enumerate()
            .map(|(n, one)| ("tmpfs", n, one))
            .chain(mounts.enumerate().map(|(n, one)| ("volumes", n, one)));
        for (kind, n, (target, item)) in all {
            let place = format!("services.{}.{kind}[{n}]", self.name);
            match taken.get(&target) {
                Some((first, at)) => {
                    let message = format!("{place}: target {target} already mounted as {first}");
                    faults.push(Diagnostic::error(&item.at, message).note(Some(at), "the first is here"));
                }
                None => {
                    taken.insert(target, (place, item.at.clone()));
                }
            }
        }
        self.found.append(&mut faults);
    }
}

fn is_zero(node: &Node) -> bool {
    match &node.value {
        Value::Int(number) => *number == 0,
        Value::Float(number) => *number == 0.0,
        Value::String(text) => text == "0" || text.is_empty(),
        _ => false,
    }
}

/// A secret comes from somewhere, used or not.
fn secrets(model: &Node, found: &mut Vec<Diagnostic>) {
    for (name, entry) in model.get("secrets").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
        let Some(secret) = entry.node.as_mapping() else { continue };
        let given = |key| secret.get(key).and_then(Node::as_str).is_some_and(|text| !text.is_empty());
        if !is_external(secret) && !given("file") && !given("environment") {
            let message = format!("secret {name:?} must declare either `file` or `environment`");
            found.push(Diagnostic::error(&entry.key_at, message));
        }
    }
}

/// No two services call their container the same. Asked of those that are left by selection: one of two alone is fine.
pub(in crate::spec) fn container_names(model: &Node, found: &mut Vec<Diagnostic>) {
    let mut taken: HashMap<&str, (&str, &Node)> = HashMap::new();
    for (name, service) in things(model, "services") {
        let Some(node) = service.get("container_name") else { continue };
        let Some(container) = node.as_str().filter(|text| !text.is_empty()) else { continue };
        if let Some((other, first)) = taken.get(container) {
            let message =
                format!("services.{name}: container name {container:?} is already in use by service {other:?}");
            found.push(Diagnostic::error(&node.at, message).note(Some(&first.at), "it is taken here"));
        } else {
            taken.insert(container, (name, node));
        }
    }
}

/// Finds one cycle of dependencies, if there is any, and says the whole way round.
fn cycles(model: &Node, found: &mut Vec<Diagnostic>) {
    let edges: BTreeMap<&str, &Mapping> = things(model, "services")
        .filter_map(|(name, service)| Some((name, service.get("depends_on")?.as_mapping()?)))
        .collect();
    // Done: everything from here on is known to be free of cycles.
    let mut done: HashMap<&str, bool> = HashMap::new();
    for start in edges.keys() {
        // A stack of services and what is left of their dependencies: a chain may be longer than the stack of a thread.
        let mut way: Vec<(&str, Vec<(&str, &Entry)>)> = Vec::new();
        let mut next = Some(*start);
        loop {
            if let Some(name) = next.take()
                && !done.contains_key(name)
            {
                done.insert(name, false);
                let edges = edges.get(name).map_or_else(Vec::new, |map| map.iter().collect());
                way.push((name, edges));
            }
            let Some((name, left)) = way.last_mut() else { break };
            let name = *name;
            match left.pop() {
                None => {
                    done.insert(name, true);
                    way.pop();
                }
                Some((other, entry)) if done.get(other) == Some(&false) => {
                    let round = way.iter().map(|(name, _)| *name).skip_while(|name| *name != other);
                    let round: Vec<&str> = round.chain([other]).collect();
                    let message = format!("dependency cycle detected: {}", round.join(" -> "));
                    found.push(Diagnostic::error(&entry.key_at, message));
                    return;
                }
                Some((other, _)) => next = Some(other),
            }
        }
    }
}

/// `deploy.replicas` follows `scale`.
fn same_replicas(model: &mut Node) {
    let services = model.as_mapping_mut().and_then(|map| map.get_mut("services")).and_then(Node::as_mapping_mut);
    for (_, entry) in services.into_iter().flat_map(Mapping::iter_mut) {
        let Some(service) = entry.node.as_mapping_mut() else { continue };
        let Some(scale) = service.get("scale").filter(|scale| !scale.is_null()).cloned() else { continue };
        if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_mapping_mut) {
            deploy.insert("replicas", scale.at.clone(), scale);
        }
    }
}
