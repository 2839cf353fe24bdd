//! `SOURCE_DATE_EPOCH`: the same files give the same layer whenever they are made (reproducible-builds.org, "SOURCE_DATE_EPOCH").

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::runtime::image::tree::{kind, names, open_directory_in, status};
use crate::runtime::sys::{OrOs, OsError};

/// Seconds since 1970, where a build argument gives them.
pub(super) fn given(args: &BTreeMap<String, String>) -> Result<Option<i64>, String> {
    let Some(text) = args.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<i64>().ok().filter(|seconds| jiff::Timestamp::from_second(*seconds).is_ok()) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(format!("SOURCE_DATE_EPOCH is a number of seconds since 1970, not {text:?}")),
    }
}

/// Gives every file below `root` that is newer this time.
pub(super) fn clamp(root: &OwnedFd, epoch: i64) -> Result<(), OsError> {
    let time = TimeSpec::new(epoch, 0);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let shown = |errno: Result<_, Errno>| errno.or_os("utimensat", folder.display().to_string());
        let opened = open_directory_in(root, &folder).or_os("open", folder.display().to_string())?;
        for (name, _) in names(&opened).or_os("read", folder.display().to_string())? {
            let Some(found) = status(&opened, &name).or_os("stat", folder.display().to_string())? else { continue };
            if kind(&found) == SFlag::S_IFDIR {
                folders.push(folder.join(&name));
            }
            if found.st_mtime >= epoch {
                shown(utimensat(&opened, name.as_os_str(), &time, &time, UtimensatFlags::NoFollowSymlink))?;
            }
        }
    }
    Ok(())
}
