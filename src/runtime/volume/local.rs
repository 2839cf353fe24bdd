//! Options of the driver `local`: `type`, `device` and `o`, as mount(8) takes them (behaviours §14).

use std::collections::BTreeMap;
use std::io;
use std::net::ToSocketAddrs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::runtime::sys::{OrOs, OsError};

/// What a volume shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its own data.
    Data,
    /// A folder of the host (`o: bind`).
    Folder(PathBuf),
    /// A file system, mounted while it is used.
    FileSystem(FileSystem),
}

/// A file system and how it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileSystem {
    kind: String,
    device: String,
    flags: MsFlags,
    data: String,
}

/// What these options say.
pub(super) fn shown(options: &BTreeMap<String, String>) -> Result<Shown, String> {
    if let Some(unknown) = options.keys().find(|name| !matches!(name.as_str(), "type" | "o" | "device" | "size")) {
        return Err(format!("invalid option: {unknown:?}"));
    }
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let (kind, device, o) = (option("type"), option("device"), option("o"));
    let words: Vec<&str> = o.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if device.is_empty() && kind.is_empty() && words.is_empty() {
        return Ok(Shown::Data);
    }
    if device.is_empty() {
        return Err("missing device in volume options".to_owned());
    }
    if words.iter().any(|word| matches!(*word, "bind" | "rbind")) {
        return if device.starts_with('/') {
            Ok(Shown::Folder(PathBuf::from(device)))
        } else {
            Err(format!("the device {device:?} of a bind is no absolute path"))
        };
    }
    if kind.is_empty() {
        return Err("missing type in volume options".to_owned());
    }
    let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
    for word in words {
        match flag(word) {
            Some(flag) => flags |= flag,
            None if matches!(
                word,
                "rw" | "defaults" | "suid" | "dev" | "exec" | "async" | "auto" | "noauto" | "user" | "nouser"
            ) => {}
            None => data.push(word.to_owned()),
        }
    }
    Ok(Shown::FileSystem(FileSystem { kind: kind.to_owned(), device: device.to_owned(), flags, data: data.join(",") }))
}

fn flag(word: &str) -> Option<MsFlags> {
    Some(match word {
        "ro" => MsFlags::MS_RDONLY,
        "nosuid" => MsFlags::MS_NOSUID,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        "sync" => MsFlags::MS_SYNCHRONOUS,
        "noatime" => MsFlags::MS_NOATIME,
        "nodiratime" => MsFlags::MS_NODIRATIME,
        "relatime" => MsFlags::MS_RELATIME,
        "strictatime" => MsFlags::MS_STRICTATIME,
        _ => return None,
    })
}

impl FileSystem {
    /// Mounts it at a folder.
    pub(super) fn mount(&self, at: &Path) -> Result<(), OsError> {
        let data = if self.kind.starts_with("nfs") { self.with_address()? } else { self.data.clone() };
        mount(Some(self.device.as_str()), at, Some(self.kind.as_str()), self.flags, Some(data.as_str()))
            .or_os("mount", format!("{} of type {}", self.device, self.kind))
    }

    /// The kernel knows no names: `addr=HOST` becomes an address.
    fn with_address(&self) -> Result<String, OsError> {
        let words = self.data.split(',').map(|word| match word.strip_prefix("addr=") {
            Some(host) => {
                let found = (host, 2049).to_socket_addrs().or_os("getaddrinfo", host)?.next();
                let found = found.ok_or(Errno::EADDRNOTAVAIL).or_os("getaddrinfo", host)?;
                Ok(format!("addr={}", found.ip()))
            }
            None => Ok(word.to_owned()),
        });
        Ok(words.collect::<Result<Vec<_>, _>>()?.join(","))
    }
}

/// Whether something is mounted at a folder: it is on another device than the folder above.
pub(super) fn is_mounted(at: &Path) -> io::Result<bool> {
    let above = at.parent().unwrap_or(at);
    Ok(std::fs::metadata(at)?.dev() != std::fs::metadata(above)?.dev())
}

/// Takes off what is mounted at a folder, if anything is.
pub(super) fn unmount(at: &Path) -> Result<(), OsError> {
    loop {
        match umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there, or there is nothing.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno).or_os("umount", at.display().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Shown, String> {
        shown(&options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn options_are_those_of_mount() {
        assert_eq!(read(&[]), Ok(Shown::Data));
        assert_eq!(read(&[("type", "none"), ("o", "bind"), ("device", "/srv")]), Ok(Shown::Folder("/srv".into())));
        let tmpfs = read(&[("type", "tmpfs"), ("o", "size=1m,ro,noexec,rw"), ("device", "tmpfs")]).unwrap();
        let Shown::FileSystem(tmpfs) = tmpfs else { panic!() };
        assert_eq!((tmpfs.flags, tmpfs.data.as_str()), (MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC, "size=1m"));
        assert!(read(&[("device", "/dev/x")]).unwrap_err().contains("missing type"));
        assert!(read(&[("type", "tmpfs")]).unwrap_err().contains("missing device"));
        assert!(read(&[("typ", "x")]).unwrap_err().contains("invalid option"));
        assert!(read(&[("o", "bind"), ("device", "x")]).unwrap_err().contains("absolute"));
    }
}
