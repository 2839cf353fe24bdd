//! The name servers that the machine asks, as its `/etc/resolv.conf` has them now: a machine that moves on to another network
//! gets others.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::runtime::network::files;

/// Reads the file again only when it has become another.
#[derive(Debug)]
pub struct Servers {
    file: PathBuf,
    last: Option<(Stamp, Vec<IpAddr>)>,
}

/// Device, inode, time of the last change and size: a file written anew differs in one of them.
type Stamp = (u64, u64, i64, i64, u64);

impl Servers {
    /// The machine's own.
    pub fn of_machine() -> Servers {
        Servers::of(Path::new("/etc/resolv.conf"))
    }

    fn of(file: &Path) -> Servers {
        Servers { file: file.to_owned(), last: None }
    }

    /// Whom it asks now.
    pub fn now(&mut self) -> Vec<IpAddr> {
        let stamp = fs::metadata(&self.file)
            .map_or((0, 0, 0, 0, 0), |meta| (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.size()));
        match &self.last {
            Some((last, servers)) if *last == stamp => servers.clone(),
            _ => {
                let servers = files::servers(&fs::read_to_string(&self.file).unwrap_or_default());
                self.last = Some((stamp, servers.clone()));
                servers
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_anew_replaced_or_removed_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        let mut servers = Servers::of(&file);
        let mut now = || servers.now().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(now(), "8.8.8.8 8.8.4.4");
        fs::write(&file, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(now(), "192.0.2.1");
        assert_eq!(now(), "192.0.2.1");
        fs::write(&file, "nameserver 192.0.2.1\nnameserver 127.0.0.53\n").unwrap();
        assert_eq!(now(), "192.0.2.1 127.0.0.53");
        let other = folder.path().join("other");
        fs::write(&other, "nameserver 192.0.2.2\nnameserver 127.0.0.53\n").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(now(), "192.0.2.2 127.0.0.53");
        fs::remove_file(&file).unwrap();
        assert_eq!(now(), "8.8.8.8 8.8.4.4");
    }
}
