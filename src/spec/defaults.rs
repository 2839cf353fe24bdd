//! What Compose assumes where a model is silent. Names and implied dependencies are not here but in `normalise`.

use super::tree::{Mapping, Node, Value};

/// Fills in the defaults that are part of the model: `build.context`, where secrets lie, `tcp`, counts of devices, …
pub(in crate::spec) fn fill(model: &mut Node) {
    let services = model.as_mapping_mut().and_then(|map| map.get_mut("services")).and_then(Node::as_mapping_mut);
    let Some(services) = services else { return };
    for service in services.iter_mut().filter_map(|(_, entry)| entry.node.as_mapping_mut()) {
        if let Some(build) = service.get_mut("build") {
            default(build, "context", || Value::String(".".to_owned()));
        }
        for port in items(service, "ports") {
            default(port, "mode", || Value::String("ingress".to_owned()));
            default(port, "protocol", || Value::String("tcp".to_owned()));
        }
        for secret in items(service, "secrets") {
            let source = secret.get("source").and_then(Node::as_str).map(|source| format!("/run/secrets/{source}"));
            if let Some(target) = source {
                default(secret, "target", || Value::String(target));
            }
        }
        items(service, "gpus").for_each(all_devices);
        let reservations = service.get_mut("deploy").and_then(|node| below(node, "resources"));
        if let Some(reservations) =
            reservations.and_then(|node| below(node, "reservations")).and_then(Node::as_mapping_mut)
        {
            items(reservations, "devices").for_each(all_devices);
        }
    }
}

/// A request that says neither how many nor which is for all.
fn all_devices(request: &mut Node) {
    if request.get("device_ids").is_none() {
        default(request, "count", || Value::String("all".to_owned()));
    }
}

fn default(node: &mut Node, key: &str, value: impl FnOnce() -> Value) {
    let at = node.at.clone();
    if let Some(map) = node.as_mapping_mut()
        && map.get(key).is_none_or(Node::is_null)
    {
        map.insert(key, at.clone(), Node::new(&at, value()));
    }
}

fn below<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    node.as_mapping_mut()?.get_mut(key)
}

fn items<'a>(map: &'a mut Mapping, key: &str) -> impl Iterator<Item = &'a mut Node> {
    map.get_mut(key).and_then(Node::as_sequence_mut).into_iter().flatten()
}
