//! Which keys of a model are read but come to nothing when it is run: the fields that the table of `schema` marks so.

use super::diagnostic::Diagnostic;
use super::schema::{Becomes, FILE, Object};
use super::tree::{Mapping, Node, Path};
use crate::values::byte_size;

/// What bridges of ours know of a network's `driver_opts`.
const NETWORK_OPTIONS: [&str; 6] = [
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.host_binding_ipv4",
    "com.docker.network.bridge.name",
    "com.docker.network.container_iface_prefix",
    "com.docker.network.driver.mtu",
];

/// What can become of output. The empty one is the default.
const LOGGING_DRIVERS: [&str; 4] = ["", "json-file", "local", "none"];

/// A warning for each such key, at its place.
pub(in crate::spec) fn warnings(model: &Node) -> Vec<Diagnostic> {
    let mut walk = Walk { path: Path::root(), found: Vec::new() };
    walk.object(model, &FILE);
    walk.network_options(model);
    walk.endpoint_options(model);
    walk.logging(model);
    walk.found
}

/// The map under this key.
fn under<'a>(node: &'a Node, key: &str) -> Option<&'a Mapping> {
    node.as_mapping()?.iter().find(|(name, _)| *name == key)?.1.node.as_mapping()
}

/// What our endpoints know of the `driver_opts` of a service in a network.
const ENDPOINT_OPTION: &str = "com.docker.network.endpoint.sysctls";

struct Walk {
    path: Path,
    found: Vec<Diagnostic>,
}

impl Walk {
    /// Their names are the driver's own, so no table of fields has them.
    fn network_options(&mut self, model: &Node) {
        for (network, entry) in under(model, "networks").into_iter().flat_map(Mapping::iter) {
            let text = |key: &str| entry.node.as_mapping()?.get(key);
            if let Some(driver) = text("driver").filter(|driver| driver.as_str() == Some("overlay")) {
                let message = format!(
                    "networks.{network}.driver: an overlay joins several machines; on this one the network is a bridge"
                );
                self.found.push(Diagnostic::warning(&driver.at, message));
            }
            let ipam = under(&entry.node, "ipam").and_then(|ipam| ipam.get("driver"));
            if let Some(driver) = ipam.filter(|driver| !matches!(driver.as_str(), Some("default" | "") | None)) {
                let message = format!("networks.{network}.ipam.driver: only `default` is supported");
                self.found.push(Diagnostic::warning(&driver.at, message));
            }
            for (option, value) in under(&entry.node, "driver_opts").into_iter().flat_map(Mapping::iter) {
                if !NETWORK_OPTIONS.contains(&option) {
                    let message =
                        format!("networks.{network}.driver_opts: `{option}` is not supported and has no effect");
                    self.found.push(Diagnostic::warning(&value.key_at, message));
                }
            }
        }
    }

    /// The same of how services stand in networks.
    fn endpoint_options(&mut self, model: &Node) {
        for (service, entry) in under(model, "services").into_iter().flat_map(Mapping::iter) {
            for (network, entry) in under(&entry.node, "networks").into_iter().flat_map(Mapping::iter) {
                for (option, value) in under(&entry.node, "driver_opts").into_iter().flat_map(Mapping::iter) {
                    if option != ENDPOINT_OPTION {
                        let message = format!(
                            "services.{service}.networks.{network}.driver_opts: `{option}` is not supported and has no effect"
                        );
                        self.found.push(Diagnostic::warning(&value.key_at, message));
                    }
                }
            }
        }
    }

    /// Output is kept and rotated here, and goes nowhere else.
    fn logging(&mut self, model: &Node) {
        for (service, entry) in under(model, "services").into_iter().flat_map(Mapping::iter) {
            let Some(logging) = under(&entry.node, "logging") else { continue };
            let mut warn = |at, message| self.found.push(Diagnostic::warning(at, message));
            let driver = logging.get("driver");
            if let Some((driver, name)) = driver.and_then(|driver| Some((driver, driver.as_str()?)))
                && !LOGGING_DRIVERS.contains(&name)
            {
                let message = format!(
                    "services.{service}.logging.driver: `{name}` is not supported; the output is kept here, as `json-file` does"
                );
                warn(&driver.at, message);
                continue;
            }
            let Some(options) = logging.get("options").and_then(Node::as_mapping) else { continue };
            for (option, value) in options.iter() {
                let path = format!("services.{service}.logging.options");
                let text = value.node.as_str();
                match option {
                    "max-size" if text.is_some_and(|text| byte_size::parse(text).is_err()) => {
                        warn(&value.node.at, format!("{path}: `{option}` is no size, so the log grows without limit"));
                    }
                    "max-file" if text.is_some_and(|text| text.parse::<u32>().is_err()) => {
                        warn(&value.node.at, format!("{path}: `{option}` is no number and has no effect"));
                    }
                    "max-size" | "max-file" => {}
                    _ => warn(&value.key_at, format!("{path}: `{option}` is not supported and has no effect")),
                }
            }
        }
    }

    fn object(&mut self, node: &Node, object: &'static Object) {
        for (key, entry) in node.as_mapping().into_iter().flat_map(Mapping::iter) {
            let Some(field) = object.field(key) else { continue };
            self.path.push_key(key);
            if field.honoured {
                self.value(&entry.node, &field.becomes);
            } else if !entry.node.is_null() {
                let message = format!("{}: `{key}` is not supported yet and has no effect", self.path);
                self.found.push(Diagnostic::warning(&entry.key_at, message));
            }
            self.path.pop();
        }
    }

    fn value(&mut self, node: &Node, becomes: &'static Becomes) {
        match becomes {
            Becomes::Object(object) => self.object(node, object),
            Becomes::List(items) => {
                for (n, item) in node.as_sequence().into_iter().flatten().enumerate() {
                    self.path.push_item(n);
                    self.value(item, items);
                    self.path.pop();
                }
            }
            Becomes::Named(values) | Becomes::Map(values) => {
                for (key, entry) in node.as_mapping().into_iter().flat_map(Mapping::iter) {
                    self.path.push_key(key);
                    self.value(&entry.node, values);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }
}
