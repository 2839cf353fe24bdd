//! Who is on the networks of this project's containers, as the resolver has to know: read from the endpoint records of
//! those networks, also those of other projects, whenever one comes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nix::sys::inotify::WatchDescriptor;

use crate::dns::names::{Member, Names};
use crate::engine::ContainerId;
use crate::runtime::layout::Layout;
use crate::runtime::network::record::EndpointRecord;
use crate::runtime::store;
use crate::runtime::watch::Watch;

/// The networks that are watched, and their members.
#[derive(Debug)]
pub(super) struct Membership {
    layout: Layout,
    watch: Watch,
    watched: Vec<WatchDescriptor>,
    /// By network, then by container.
    members: BTreeMap<String, BTreeMap<ContainerId, Member>>,
}

impl Membership {
    /// Watches nothing yet.
    pub(super) fn new(layout: &Layout) -> io::Result<Membership> {
        Ok(Membership { layout: layout.clone(), watch: Watch::new()?, watched: Vec::new(), members: BTreeMap::new() })
    }

    /// One of our containers is connected to these networks: their names resolve from now on.
    pub(super) fn join(&mut self, container: &ContainerId, networks: &[String]) {
        for network in networks {
            if self.members.contains_key(network) {
                self.read(network, container);
            } else {
                // Watched first, then read: what comes in between is seen twice rather than never.
                self.watched.extend(self.watch.add(&self.layout.endpoints(network)));
                self.members.insert(network.clone(), BTreeMap::new());
                self.scan(network);
            }
        }
    }

    /// One of our containers is connected no more.
    pub(super) fn leave(&mut self, container: &ContainerId) {
        for members in self.members.values_mut() {
            members.remove(container);
        }
    }

    /// None of our containers is connected: nobody asks. The kernel takes some 10 ms to end a watch, which whoever waits
    /// for the end of this process would wait for, too, were it not done before.
    pub(super) fn rest(&mut self) {
        self.watched.drain(..).for_each(|folder| self.watch.end(folder));
        self.members.clear();
    }

    /// Waits until somebody came or went.
    pub(super) async fn changed(&mut self) {
        if self.watch.seen().await.is_err() {
            // Nothing more will be told; our own containers are joined by hand anyway.
            std::future::pending::<()>().await;
        }
        let networks: Vec<String> = self.members.keys().cloned().collect();
        for network in networks {
            self.scan(&network);
        }
    }

    /// Everything that resolves now.
    pub(super) fn names(&self) -> Names {
        let members: Vec<Member> = self.members.values().flat_map(|members| members.values().cloned()).collect();
        Names::new(&members)
    }

    fn scan(&mut self, network: &str) {
        let Ok(entries) = std::fs::read_dir(self.layout.endpoints(network)) else { return };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids: BTreeSet<ContainerId> =
            names.filter_map(|name| Some(ContainerId(name.strip_suffix(".json")?.to_owned()))).collect();
        let Some(members) = self.members.get_mut(network) else { return };
        members.retain(|id, _| ids.contains(id));
        let new: Vec<ContainerId> = ids.into_iter().filter(|id| !members.contains_key(id)).collect();
        for id in new {
            self.read(network, &id);
        }
    }

    fn read(&mut self, network: &str, id: &ContainerId) {
        let path = self.layout.endpoints(network).join(format!("{}.json", id.0));
        // Gone again, or being written: the watch tells.
        let Ok(Some(record)) = store::read::<EndpointRecord>(&path) else { return };
        self.members.entry(network.to_owned()).or_default().insert(id.clone(), record.member());
    }
}
