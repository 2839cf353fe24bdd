//! What a container may use. `deploy.resources` overrules the older keys, which by then say the same.

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::spec::project::resources::{Blkio, Device, DeviceRequest, Resources};
use crate::spec::tree::{Node, Value};
use crate::values::ulimit::Ulimit;

/// Limits and reservations.
pub(super) fn decode(service: &Reader<'_>) -> Resources {
    let deployed = service.object("deploy").and_then(|deploy| deploy.object("resources"));
    let limits = deployed.as_ref().and_then(|resources| resources.object("limits"));
    let reservations = deployed.as_ref().and_then(|resources| resources.object("reservations"));
    let cpus = limits.as_ref().and_then(|limits| cpus(limits)).or_else(|| cpus(service));
    Resources {
        nano_cpus: cpus,
        cpu_shares: service.number("cpu_shares"),
        cpu_quota: service.number("cpu_quota"),
        cpu_period: service.number("cpu_period"),
        cpu_rt_runtime: service.number("cpu_rt_runtime"),
        cpu_rt_period: service.number("cpu_rt_period"),
        cpuset: service.text("cpuset"),
        memory: limits.as_ref().and_then(|limits| limits.number("memory")).or_else(|| service.number("mem_limit")),
        memory_swap: service.number("memswap_limit"),
        memory_reservation: reservations
            .and_then(|reservations| reservations.number("memory"))
            .or_else(|| service.number("mem_reservation")),
        memory_swappiness: service.number("mem_swappiness"),
        pids: limits.and_then(|limits| limits.number("pids")).or_else(|| service.number("pids_limit")),
        oom_kill_disable: service.flag("oom_kill_disable"),
        oom_score_adj: service.number("oom_score_adj"),
        blkio: service.object("blkio_config").map(|config| blkio(&config)).unwrap_or_default(),
    }
}

/// In billionths; the number was written with few digits, so rounding gives those back.
fn cpus(reader: &Reader<'_>) -> Option<u64> {
    let cpus = reader.fraction("cpus")?;
    let nano = (cpus * 1e9).round();
    if (0.0..1e18).contains(&nano) {
        return Some(nano as u64);
    }
    reader.fault(&reader.at(), format!("cpus: {cpus} is out of range"));
    None
}

fn blkio(reader: &Reader<'_>) -> Blkio {
    fn pairs<T: TryFrom<i128>>(reader: &Reader<'_>, list: &str, key: &str) -> Vec<(String, T)> {
        let one = |item: &Reader<'_>| Some((item.text("path")?, item.count(key)?));
        reader.objects(list).iter().filter_map(one).collect()
    }
    Blkio {
        weight: reader.number("weight"),
        weight_device: pairs(reader, "weight_device", "weight"),
        device_read_bps: pairs(reader, "device_read_bps", "rate"),
        device_write_bps: pairs(reader, "device_write_bps", "rate"),
        device_read_iops: pairs(reader, "device_read_iops", "rate"),
        device_write_iops: pairs(reader, "device_write_iops", "rate"),
    }
}

/// Limits by name.
pub(super) fn ulimits(reader: &Reader<'_>) -> BTreeMap<String, Ulimit> {
    let Some(limits) = reader.object("ulimits") else { return BTreeMap::new() };
    let one = |name: &str| {
        let limit = match limits.object(name) {
            Some(both) => Ulimit { soft: both.count("soft")?, hard: both.count("hard")? },
            None => {
                let both = limits.count(name)?;
                Ulimit { soft: both, hard: both }
            }
        };
        if limit.hard >= 0 && (limit.soft < 0 || limit.soft > limit.hard) {
            limits.fault(&limits.at(), format!("{name}: soft limit {} is above hard limit {}", limit.soft, limit.hard));
        }
        Some((name.to_owned(), limit))
    };
    limits.keys().filter_map(one).collect()
}

/// Devices of the host.
pub(super) fn devices(service: &Reader<'_>) -> Vec<Device> {
    let one = |reader: &Reader<'_>| {
        let source = reader.text("source")?;
        Some(Device {
            target: reader.text("target").unwrap_or_else(|| source.clone()),
            permissions: reader.text("permissions").unwrap_or_else(|| "rwm".to_owned()),
            source,
            location: reader.at(),
        })
    };
    service.objects("devices").iter().filter_map(one).collect()
}

/// `gpus`, which ask for the capability of that name, and the devices of `deploy`.
pub(super) fn device_requests(service: &Reader<'_>) -> Vec<DeviceRequest> {
    let gpus = service.objects("gpus");
    let gpus = gpus.iter().map(|reader| {
        let mut request = device_request(reader);
        if !request.capabilities.iter().any(|capability| capability == "gpu") {
            request.capabilities.push("gpu".to_owned());
        }
        request
    });
    let deployed = service.object("deploy").and_then(|deploy| deploy.object("resources"));
    let reserved = deployed.and_then(|resources| resources.object("reservations"));
    let devices = reserved.map(|reservations| reservations.objects("devices")).unwrap_or_default();
    gpus.chain(devices.iter().map(device_request)).collect()
}

fn device_request(reader: &Reader<'_>) -> DeviceRequest {
    let count = match reader.node("count") {
        Some(Node { value: Value::Int(-1), .. }) => None,
        _ => reader.count("count"),
    };
    DeviceRequest {
        capabilities: reader.texts("capabilities"),
        driver: reader.text("driver"),
        count,
        device_ids: reader.texts("device_ids"),
        options: reader.map("options"),
        location: reader.at(),
    }
}
