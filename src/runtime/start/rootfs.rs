//! The root file system: an overlay that is mounted but placed nowhere yet.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use crate::runtime::start::StartError;
use crate::runtime::start::program::text;
use crate::runtime::start::request::{Durability, Rootfs};
use crate::runtime::sys::mount::{READ_ONLY, Reach, copy_tree, new_file_system, set_attributes};
use crate::runtime::sys::{OrOs, OsError};

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
    let writable = Writable { upper: &rootfs.upper, work: &rootfs.work, durability: rootfs.durability };
    either(&rootfs.lower, Some(&writable))
}

/// Mounts layers read-only.
pub fn layers(lower: &[PathBuf]) -> Result<OwnedFd, StartError> {
    let [single] = lower else { return either(lower, None) };
    // An overlay without a writable layer needs two different ones.
    let shown = || single.display().to_string();
    let tree = copy_tree(AT_FDCWD, &text(single)?, Reach::Top).or_os("open_tree", shown())?;
    let private = MsFlags::MS_PRIVATE.bits();
    set_attributes(tree.as_fd(), Reach::Top, READ_ONLY, private).or_os("mount_setattr", shown())?;
    Ok(tree)
}

struct Writable<'a> {
    upper: &'a Path,
    work: &'a Path,
    durability: Durability,
}

fn either(lower: &[PathBuf], writable: Option<&Writable<'_>>) -> Result<OwnedFd, StartError> {
    match described(lower, writable) {
        // Before Linux 6.8 the new calls know no single layers, and cut what they are told after 256 bytes.
        Err(StartError::Os(error)) if error.errno == Errno::EINVAL => classic(lower, writable),
        other => other,
    }
}

/// Option by option, so that there can be any number of layers.
fn described(lower: &[PathBuf], writable: Option<&Writable<'_>>) -> Result<OwnedFd, StartError> {
    let lower: Vec<CString> = lower.iter().map(text).collect::<Result<_, _>>()?;
    let mut options: Vec<(&CStr, Option<&CStr>)> = lower.iter().map(|layer| (c"lowerdir+", Some(&**layer))).collect();
    options.extend(FIXED);
    let Some(Writable { upper, work, durability }) = writable else {
        return Ok(new_file_system(c"overlay", &options, READ_ONLY)?);
    };
    let (upper, work) = (text(upper)?, text(work)?);
    options.extend([(c"upperdir", Some(&*upper)), (c"workdir", Some(&*work))]);
    if *durability == Durability::Volatile {
        options.push((c"volatile", None));
    }
    Ok(new_file_system(c"overlay", &options, 0)?)
}

/// By mount(2), whose options are one page: layers are told by descriptors, which are short. It can only mount at a
/// place, so it is done on a thread that leaves this mount namespace for a moment and brings the mount back as a file.
fn classic(lower: &[PathBuf], writable: Option<&Writable<'_>>) -> Result<OwnedFd, StartError> {
    let work = || -> Result<OwnedFd, StartError> {
        unshare(CloneFlags::CLONE_NEWNS).or_os("unshare", "mount namespace")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).or_os("mount", "/")?;
        // Opened here: a layer has to lie in the mount namespace it is mounted in.
        let open = |path: &Path| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            nix::fcntl::open(path, flags, Mode::empty()).or_os("open", path.display().to_string())
        };
        let named = |file: &OwnedFd| format!("/proc/self/fd/{}", file.as_raw_fd());
        let opened: Vec<OwnedFd> = lower.iter().map(|layer| open(layer)).collect::<Result<_, _>>()?;
        let mut options = format!("lowerdir={}", opened.iter().map(named).collect::<Vec<_>>().join(":"));
        let (place, kept);
        match writable {
            None => place = lower.first().cloned().unwrap_or_default(),
            Some(Writable { upper, work, durability }) => {
                kept = [open(upper)?, open(work)?];
                options += &format!(",upperdir={},workdir={}", named(&kept[0]), named(&kept[1]));
                if *durability == Durability::Volatile {
                    options += ",volatile";
                }
                place = upper.to_path_buf();
            }
        }
        for (name, value) in FIXED {
            let value = value.unwrap_or_default();
            options += &format!(",{}={}", name.to_string_lossy(), value.to_string_lossy());
        }
        let flags = if writable.is_some() { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        let shown = || format!("overlay of {} layers", lower.len());
        mount(Some("overlay"), &place, Some("overlay"), flags, Some(options.as_str())).or_os("mount", shown())?;
        Ok(copy_tree(AT_FDCWD, &text(&place)?, Reach::Top).or_os("open_tree", shown())?)
    };
    let died = || StartError::Os(OsError { call: "clone", subject: "mount thread".into(), errno: Errno::EAGAIN });
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work).or_os("clone", "mount thread")?;
        thread.join().unwrap_or_else(|_| Err(died()))
    })
}

/// Whatever this machine's defaults are: links between layers are not followed, so a layer says nothing about others.
const FIXED: [(&CStr, Option<&CStr>); 3] =
    [(c"index", Some(c"off")), (c"redirect_dir", Some(c"nofollow")), (c"metacopy", Some(c"off"))];

/// The folders of the layer made by [`make_init_layer`].
pub const INIT_FOLDERS: [&str; 4] = ["proc", "sys", "dev", "etc"];

/// Makes the one layer that lies topmost in every container: the places that are mounted over, so that no start makes
/// them in the writable layer, whatever the image has there.
pub fn make_init_layer(at: &Path) -> io::Result<()> {
    for folder in INIT_FOLDERS {
        fs::create_dir_all(at.join(folder))?;
    }
    for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv"] {
        fs::File::options().create(true).append(true).open(at.join(file))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::start::inside::Inside;

    /// What older kernels get has to work on every one.
    #[test]
    fn both_ways_to_mount_show_the_same() {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("XCOMPOSE_NO_SKIP").is_none(), "this test needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |below: &str| folder.path().join(below);
        let lower: Vec<PathBuf> = (0..100).map(|number| path(&format!("layer{number}{}", "x".repeat(60)))).collect();
        for (number, layer) in lower.iter().enumerate() {
            fs::create_dir_all(layer).unwrap();
            fs::write(layer.join("top"), number.to_string()).unwrap();
            fs::write(layer.join(format!("file{number}")), "").unwrap();
        }
        type Way = fn(&[PathBuf], Option<&Writable<'_>>) -> Result<OwnedFd, StartError>;
        for (name, way) in [("a", described as Way), ("b", classic as Way)] {
            for folder in ["upper", "work"] {
                fs::create_dir_all(path(name).join(folder)).unwrap();
            }
            let (upper, work) = (path(name).join("upper"), path(name).join("work"));
            for durability in [Durability::Durable, Durability::Volatile] {
                let writable = Writable { upper: &upper, work: &work, durability };
                let tree = way(&lower, Some(&writable)).unwrap();
                let inside = Inside::new(tree.as_fd());
                assert_eq!(inside.read("/top").unwrap().as_deref(), Some("0"));
                assert!(inside.stat("/file99").is_some());
                inside.folder("/made").unwrap();
                assert!(upper.join("made").is_dir());
            }
            let tree = way(&lower[..2], None).unwrap();
            let inside = Inside::new(tree.as_fd());
            assert_eq!(inside.folder("/made").unwrap_err().errno, Errno::EROFS);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(folder.path().to_str().unwrap()), "the mounts of this process are as before");
    }
}
