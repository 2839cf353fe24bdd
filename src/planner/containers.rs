//! Containers of one service: which stay, which are replaced, made or removed (behaviours §1.3 to §1.6).

use std::collections::BTreeMap;

use crate::engine::{ContainerConfig, ContainerId, ContainerState, MountSource, Observed, ObservedContainer};
use crate::planner::container_config::{Siblings, Template, replica_name};
use crate::planner::error::PlanError;
use crate::planner::labels::{Inventory, Member};
use crate::planner::leftovers;
use crate::planner::plan::Cause;
use crate::planner::recreate;
use crate::planner::request::Recreate;
use crate::spec::project::mounts::MountsOf;
use crate::spec::project::network::NetworkMode;
use crate::spec::project::service::{Namespace, Service};
use crate::values::names::{ContainerName, ServiceName, VolumeName};

/// What becomes of the containers of one service.
pub(super) struct Decided<'a> {
    /// What they are made from.
    pub(super) template: Template<'a>,
    /// Those that there will be, by number.
    pub(super) replicas: Vec<Replica<'a>>,
    /// Those that are too many.
    pub(super) surplus: Vec<&'a ObservedContainer>,
}

/// One container that there will be.
pub(super) struct Replica<'a> {
    /// From 1.
    pub(super) number: u32,
    /// Its name in the end.
    pub(super) name: ContainerName,
    /// What becomes of it.
    pub(super) fate: Fate<'a>,
}

/// What becomes of one container.
#[derive(Debug, Clone)]
pub(super) enum Fate<'a> {
    /// It stays as it is.
    Keep(&'a ObservedContainer),
    /// It is made.
    Create(Cause),
    /// A new one is made beside it and takes its place.
    Replace(&'a ObservedContainer, Cause),
    /// It is removed before a new one is made, which gets nothing of it.
    Renew(&'a ObservedContainer, Cause),
}

/// What deciding for one service takes from the plan as a whole.
pub(super) struct Circumstances<'p, 'a> {
    /// What is there.
    pub(super) observed: &'a Observed,
    /// The same, by service.
    pub(super) inventory: &'p Inventory<'a>,
    /// The services decided so far, dependencies first.
    pub(super) decided: &'p BTreeMap<ServiceName, Decided<'a>>,
    /// Volumes that are made anew.
    pub(super) renewed: &'p [VolumeName],
}

impl Decided<'_> {
    /// The containers that will not be there in the end.
    pub(super) fn gone(&self) -> impl Iterator<Item = &ContainerId> {
        let replaced = self.replicas.iter().filter_map(|replica| match &replica.fate {
            Fate::Replace(old, _) | Fate::Renew(old, _) => Some(&old.id),
            Fate::Keep(_) | Fate::Create(_) => None,
        });
        replaced.chain(self.surplus.iter().map(|container| &container.id))
    }
}

/// Decides for one service, its dependencies having been decided.
pub(super) fn decide<'a>(
    template: Template<'a>,
    scale: u32,
    recreate: Recreate,
    around: &Circumstances<'_, 'a>,
) -> Result<Decided<'a>, PlanError> {
    let service = template.service();
    if let (Some(name), 2..) = (&service.container_name, scale) {
        return Err(PlanError::CustomNameScaled { service: service.name.clone(), name: name.clone() });
    }
    let mut members = Vec::new();
    for member in around.inventory.of(&service.name) {
        members.push((*member, diverged(&template, member, around)?));
    }
    // Obsolete ones go first, then the highest numbers.
    members.sort_by_key(|(member, cause)| (cause.is_some(), member.number));
    let surplus = members.split_off(members.len().min(scale as usize));
    let highest = members.iter().chain(&surplus).map(|(member, _)| member.number).max().unwrap_or(0);
    let mut replicas = Vec::with_capacity(scale as usize);
    for (Member { container, number }, diverged) in members {
        let fate = match (diverged, recreate) {
            (Some(cause @ (Cause::VolumeRecreated(_) | Cause::Unfinished)), _) => Fate::Renew(container, cause),
            (_, Recreate::Always) => Fate::Replace(container, Cause::Forced),
            (Some(cause), Recreate::Diverged) => Fate::Replace(container, cause),
            (None, Recreate::Diverged) | (_, Recreate::Never) => Fate::Keep(container),
        };
        let name = match &fate {
            // One that was not renamed in the end will be now.
            Fate::Keep(container) => leftovers::final_name(container),
            _ => name_for(&template, number, container)?,
        };
        replicas.push(Replica { number, name, fate });
    }
    for number in highest + 1.. {
        if replicas.len() >= scale as usize {
            break;
        }
        let name = template.name(number)?;
        replicas.push(Replica { number, name, fate: Fate::Create(Cause::Missing) });
    }
    replicas.sort_by_key(|replica| replica.number);
    let surplus = surplus.into_iter().map(|(member, _)| member.container).collect();
    Ok(Decided { template, replicas, surplus })
}

/// A replica keeps the form of its default name, so that one with underscores does not lose them.
fn name_for(template: &Template<'_>, number: u32, old: &ObservedContainer) -> Result<ContainerName, PlanError> {
    let name = template.name(number)?;
    let same = |a: &str, b: &str| a.replace('_', "-") == b.replace('_', "-");
    let custom = template.service().container_name.is_some();
    let keep = !custom && same(old.config.name.as_str(), name.as_str());
    Ok(if keep { old.config.name.clone() } else { name })
}

/// Why a container should not stay as it is, if so.
fn diverged(
    template: &Template<'_>,
    member: &Member<'_>,
    around: &Circumstances<'_, '_>,
) -> Result<Option<Cause>, PlanError> {
    let there = member.container;
    if there.state == ContainerState::Dead {
        return Ok(Some(Cause::Unfinished));
    }
    if let Some(volume) = around.renewed.iter().find(|volume| mounts(there, volume)) {
        return Ok(Some(Cause::VolumeRecreated(volume.clone())));
    }
    let donors = donors(template.service());
    if !donors.is_empty() {
        // Docker Compose refuses a missing donor before it looks whether the container could stay.
        template.replica(member.number, &around.observed.images, around)?;
    }
    for (donor, shares) in donors {
        let Some(first) = around.decided.get(donor).and_then(|decided| decided.replicas.first()) else { continue };
        let anew = match &first.fate {
            Fate::Create(_) | Fate::Replace(..) | Fate::Renew(..) => true,
            // An earlier command replaced the donor and was cut short before it came to this one.
            Fate::Keep(donor) => shares == Shares::Namespace && donor.created > there.created,
        };
        if anew {
            return Ok(Some(Cause::DependencyRecreated(donor.clone())));
        }
    }
    recreate::cause(template, there, around.observed, || {
        template.replica(member.number, &around.observed.images, around)
    })
}

/// Whether a container mounts a volume.
pub(super) fn mounts(container: &ObservedContainer, volume: &VolumeName) -> bool {
    let declared = |source: &MountSource| matches!(source, MountSource::Volume { name, .. } if name == volume);
    container.volumes.values().any(|name| name == volume)
        || container.config.mounts.iter().any(|mount| declared(&mount.source))
}

/// What is shared with another service's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shares {
    /// Network, processes or IPC: they end with the donor.
    Namespace,
    /// Mounts.
    Volumes,
}

impl Shares {
    /// Whether a container is of no use without its donor.
    pub(super) fn end_with_it(self) -> bool {
        self == Shares::Namespace
    }
}

/// The services whose first containers share something with this service's containers.
pub(super) fn donors(service: &Service) -> Vec<(&ServiceName, Shares)> {
    let mut found = Vec::new();
    if let NetworkMode::Service(donor) = &service.network {
        found.push((donor, Shares::Namespace));
    }
    for namespace in [&service.ipc, &service.pid] {
        if let Namespace::Service(donor) = namespace {
            found.push((donor, Shares::Namespace));
        }
    }
    for from in &service.volumes_from {
        if let MountsOf::Service(donor) = &from.source {
            found.push((donor, Shares::Volumes));
        }
    }
    found
}

impl Siblings for Circumstances<'_, '_> {
    fn donor(&self, what: &'static str, service: &ServiceName) -> Result<ContainerName, PlanError> {
        let missing = || PlanError::DonorMissing { what, donor: service.clone() };
        self.replicas(service).into_iter().next().ok_or_else(missing)
    }

    fn replicas(&self, service: &ServiceName) -> Vec<ContainerName> {
        match self.decided.get(service) {
            Some(decided) => decided.replicas.iter().map(|replica| replica.name.clone()).collect(),
            None => self.inventory.of(service).iter().map(|member| member.container.config.name.clone()).collect(),
        }
    }

    fn donor_now(&self, service: &ServiceName) -> Result<ContainerName, PlanError> {
        match self.decided.get(service).and_then(|decided| decided.replicas.first()) {
            Some(Replica { fate: Fate::Replace(old, _), name, .. }) => leftovers::name_meanwhile(old, name),
            _ => self.donor("volume", service),
        }
    }
}

/// What a container holds on the host while it runs, and another can't have: ports and static addresses.
pub(super) fn compete(one: &ContainerConfig, other: &ContainerConfig) -> bool {
    let ports = one.ports.iter().any(|a| {
        other.ports.iter().any(|b| {
            let ranges = a.published.zip(b.published);
            a.protocol == b.protocol
                && ranges.is_some_and(|(a, b)| a.0 <= b.1 && b.0 <= a.1)
                && (a.host_ip.is_none() || b.host_ip.is_none() || a.host_ip == b.host_ip)
        })
    });
    ports || addresses(one).any(|a| addresses(other).any(|b| a == b))
}

fn addresses(config: &ContainerConfig) -> impl Iterator<Item = (&str, std::net::IpAddr)> {
    let attachments = match &config.network {
        crate::engine::NetworkMode::Networks(attachments) => attachments.as_slice(),
        _ => &[],
    };
    attachments.iter().flat_map(|to| {
        let v4 = to.ipv4_address.map(std::net::IpAddr::V4);
        let v6 = to.ipv6_address.map(std::net::IpAddr::V6);
        v4.into_iter().chain(v6).map(|address| (to.network.as_str(), address))
    })
}

impl<'a> Template<'a> {
    /// The name of one replica.
    pub(super) fn name(&self, number: u32) -> Result<ContainerName, PlanError> {
        replica_name(self.project(), self.service(), number)
    }
}
