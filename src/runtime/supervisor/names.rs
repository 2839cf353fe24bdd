//! Who is on the networks of this project's containers, as the resolver has to know: read from the endpoint records of
//! those networks, also those of other projects.
//!
//! The records are the truth, written before a container's first instruction and removed when it ends. The kernel keeps
//! a list of what changed among them (inotify(7)), which is read before each question is answered: so an answer is never
//! behind, whoever changed something, and nothing wakes anybody while nobody asks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::dns::names::{Member, Names};
use crate::dns::{Asker, Source};
use crate::engine::ContainerId;
use crate::runtime::layout::Layout;
use crate::runtime::network::record::{EndpointRecord, Leases};
use crate::runtime::network::servers::Servers;
use crate::runtime::store;
use crate::values::names::NetworkName;

/// The networks that are watched, and their members. Copies are the same.
#[derive(Debug, Clone)]
pub struct Membership(Arc<Mutex<Watched>>);

#[derive(Debug)]
struct Watched {
    layout: Layout,
    /// `None`: the machine gives no more of them (`fs.inotify.max_user_instances`).
    inotify: Option<Inotify>,
    /// Not every network is watched: all is read anew for each question.
    blind: bool,
    /// Which network a folder's watch is for.
    folders: HashMap<WatchDescriptor, String>,
    /// By network, then by container.
    members: BTreeMap<String, BTreeMap<ContainerId, Member>>,
    /// What resolves by that; `None` after a change.
    names: Option<Arc<Names>>,
    /// Asked for other names.
    servers: Servers,
}

impl Membership {
    /// Watches nothing yet.
    pub fn new(layout: &Layout) -> Membership {
        Membership(Arc::new(Mutex::new(Watched {
            layout: layout.clone(),
            inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok(),
            blind: false,
            folders: HashMap::new(),
            members: BTreeMap::new(),
            names: None,
            servers: Servers::of_machine(),
        })))
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        // A panic in between would leave a member unread, which the next change sets right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of our containers is about to be connected to these networks: who is on them is known from now on.
    pub fn join(&self, networks: &[String]) {
        self.watched().join(networks);
    }

    /// None of our containers is connected: nobody asks. The kernel takes some 10 ms to end a watch, which whoever waits
    /// for the end of this process would wait for, too, were it not done before.
    pub fn rest(&self) {
        let mut watched = self.watched();
        let folders: Vec<WatchDescriptor> = watched.folders.drain().map(|(folder, _)| folder).collect();
        for folder in folders {
            // One that is gone is not watched already.
            let _ = watched.inotify.as_ref().map(|inotify| inotify.rm_watch(folder));
        }
        watched.blind = false;
        watched.members.clear();
        watched.names = None;
    }
}

impl Source for Membership {
    fn names(&self) -> Arc<Names> {
        let mut watched = self.watched();
        watched.catch_up();
        let Watched { names, members, .. } = &mut *watched;
        let all = || members.values().flat_map(BTreeMap::values);
        Arc::clone(names.get_or_insert_with(|| Arc::new(Names::new(all()))))
    }

    fn is_at_rest(&self, asker: &Asker, name: &str) -> bool {
        self.watched().is_at_rest(&asker.networks, name)
    }

    fn machine_servers(&self) -> Vec<IpAddr> {
        self.watched().servers.now()
    }
}

impl Watched {
    /// Whoever has an address kept without being a member; services have no dots.
    fn is_at_rest(&self, networks: &[String], name: &str) -> bool {
        let of_network = |id: &String| self.members.get(id)?.values().next();
        networks.iter().filter_map(of_network).any(|member| {
            let network = member.network_name.to_ascii_lowercase();
            let bare = name.strip_suffix(&network).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
            if bare.contains('.') {
                return false;
            }
            let Ok(network) = NetworkName::try_from(member.network_name.clone()) else { return false };
            // Leases that can't be read keep nothing.
            let leases: Option<Leases> = store::read(&self.layout.leases(&network)).ok().flatten();
            leases.is_some_and(|leases| leases.leases.keys().any(|key| is_called(key, bare)))
        })
    }

    fn join(&mut self, networks: &[String]) {
        for network in networks {
            if self.members.contains_key(network) {
                continue;
            }
            // Watched first, then read: what comes in between is seen twice rather than never.
            let events = AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_MOVED_FROM
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_ONLYDIR;
            let folder = self.layout.endpoints(network);
            match self.inotify.as_ref().and_then(|inotify| inotify.add_watch(&folder, events).ok()) {
                Some(descriptor) => drop(self.folders.insert(descriptor, network.clone())),
                None => self.blind = true,
            }
            self.scan(network);
        }
    }

    /// Takes in every change until now.
    fn catch_up(&mut self) {
        while let Some(Ok(events)) = self.inotify.as_ref().map(Inotify::read_events) {
            for event in events {
                self.take(&event);
            }
        }
        if self.blind {
            self.scan_all();
        }
    }

    fn take(&mut self, event: &InotifyEvent) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return self.scan_all();
        }
        let Some(network) = self.folders.get(&event.wd).cloned() else { return };
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            // The network is gone, and perhaps made anew under another identity.
            self.folders.remove(&event.wd);
            self.members.remove(&network);
            self.names = None;
            return;
        }
        if let Some(id) = event.name.as_deref().and_then(|name| container(Path::new(name))) {
            self.read(&network, &id);
        }
    }

    fn scan_all(&mut self) {
        let networks: Vec<String> = self.members.keys().cloned().collect();
        networks.iter().for_each(|network| self.scan(network));
    }

    fn scan(&mut self, network: &str) {
        self.members.insert(network.to_owned(), BTreeMap::new());
        self.names = None;
        let Ok(entries) = std::fs::read_dir(self.layout.endpoints(network)) else { return };
        for id in entries.filter_map(|entry| container(Path::new(&entry.ok()?.file_name()))) {
            self.read(network, &id);
        }
    }

    /// What is true of one container now.
    fn read(&mut self, network: &str, id: &ContainerId) {
        let Some(members) = self.members.get_mut(network) else { return };
        let path = self.layout.endpoints(network).join(format!("{}.json", id.0));
        match store::read::<EndpointRecord>(&path) {
            Ok(Some(record)) => drop(members.insert(id.clone(), record.member())),
            // One that can't be read names nobody.
            Ok(None) | Err(_) => drop(members.remove(id)),
        }
        self.names = None;
    }
}

/// Whether the slot of this key, `PROJECT/SERVICE/NUMBER`, answers to a name when it runs: to its service's or its own.
fn is_called(key: &str, name: &str) -> bool {
    let mut parts = key.split('/');
    let (Some(project), Some(service), Some(number)) = (parts.next(), parts.next(), parts.next()) else { return false };
    service.eq_ignore_ascii_case(name) || format!("{project}-{service}-{number}").eq_ignore_ascii_case(name)
}

/// Whose record a file is; others are being written, or something else.
fn container(file: &Path) -> Option<ContainerId> {
    let name = file.to_str()?.strip_suffix(".json")?;
    (!name.starts_with('.')).then(|| ContainerId(name.to_owned()))
}
