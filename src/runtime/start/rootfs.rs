//! The root file system: an overlay that is mounted but placed nowhere yet.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::runtime::start::StartError;
use crate::runtime::start::program::text;
use crate::runtime::start::request::{Durability, Rootfs};
use crate::runtime::sys::OrOs;
use crate::runtime::sys::mount::{READ_ONLY, Reach, copy_tree, new_file_system, set_attributes};

/// Mounts the overlay.
pub fn overlay(rootfs: &Rootfs) -> Result<OwnedFd, StartError> {
    if rootfs.durability == Durability::Volatile {
        // The kernel's mark that the layer was used without write-out; what is thrown away is used again all the same.
        let mark = rootfs.work.join("work/incompat");
        match fs::remove_dir_all(&mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).or_os("unlink", mark.display().to_string())?
            }
            _ => (),
        }
    }
    let upper = text(&rootfs.upper)?;
    let work = text(&rootfs.work)?;
    let lower = rootfs.lower.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let mut options: Vec<(&CStr, Option<&CStr>)> = lower.iter().map(|layer| (c"lowerdir+", Some(&**layer))).collect();
    options.extend([(c"upperdir", Some(&*upper)), (c"workdir", Some(&*work))]);
    options.extend(FIXED);
    if rootfs.durability == Durability::Volatile {
        options.push((c"volatile", None));
    }
    Ok(new_file_system(c"overlay", &options, 0)?)
}

/// Mounts layers read-only.
pub fn layers(lower: &[std::path::PathBuf]) -> Result<OwnedFd, StartError> {
    let lower: Vec<CString> = lower.iter().map(text).collect::<Result<_, _>>()?;
    if let [single] = lower.as_slice() {
        // An overlay without a writable layer needs two, and not the same one twice (ELOOP).
        let shown = || single.to_string_lossy();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = nix::fcntl::open(single.as_c_str(), flags, Mode::empty()).or_os("open", shown())?;
        let tree = copy_tree(folder.as_fd(), c"", Reach::Top).or_os("open_tree", shown())?;
        set_attributes(tree.as_fd(), Reach::Top, READ_ONLY, 0).or_os("mount_setattr", shown())?;
        return Ok(tree);
    }
    let mut options: Vec<(&CStr, Option<&CStr>)> = lower.iter().map(|layer| (c"lowerdir+", Some(&**layer))).collect();
    options.extend(FIXED);
    Ok(new_file_system(c"overlay", &options, READ_ONLY)?)
}

/// Whatever this machine's defaults are: links between layers are not followed, so a layer says nothing about others.
const FIXED: [(&CStr, Option<&CStr>); 3] =
    [(c"index", Some(c"off")), (c"redirect_dir", Some(c"nofollow")), (c"metacopy", Some(c"off"))];

/// Makes the one layer that lies topmost in every container: the places that are mounted over, so that no start makes
/// them in the writable layer, whatever the image has there.
pub fn make_init_layer(at: &Path) -> io::Result<()> {
    for folder in ["proc", "sys", "dev", "etc"] {
        fs::create_dir_all(at.join(folder))?;
    }
    for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv"] {
        fs::File::options().create(true).append(true).open(at.join(file))?;
    }
    Ok(())
}
