//! What a container cannot do, and what an image cannot make a start do.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::sys::statvfs::{FsFlags, fstatvfs};
use xcompose::engine::InjectedFile;
use xcompose::runtime::start::StartError;
use xcompose::runtime::start::request::{Mount, MountSource, Propagation};
use xcompose::runtime::sys::mount::own_binary;

use super::sandbox::Sandbox;
use crate::support::cannot_run;

#[test]
fn rights_are_dockers() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status";
    let root = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n\
                CapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n";
    assert_eq!(sandbox.sh(script).ok(), root);

    let mut request = sandbox.shell(script);
    request.process.user = Some("web".to_owned());
    request.process.security.no_new_privileges = true;
    let web = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n\
               CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!(sandbox.run(request).unwrap().ok(), web);
}

#[test]
fn the_host_cannot_be_touched() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let refused = [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /sys",
        "mount -o remount,rw /proc/sys",
        "umount /proc/sys",
        "umount /proc/kcore",
        "unshare -m true",
        "unshare -U true",
        "unshare -n true",
        "nsenter -t 1 -m true",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "echo x > /proc/self/oom_score_adj && echo -900 > /proc/self/oom_score_adj",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "mkdir /sys/fs/cgroup/x",
        "hostname other",
        "date -s 2001-01-01 2>&1 | grep -v 'not permitted' | grep -v 2001",
        "head -c 1 /proc/kcore | grep .",
        "head -c 1 /proc/keys | grep .",
        "head -c 1 /proc/timer_list | grep .",
        "ls /sys/firmware | grep .",
        "ls /proc/scsi | grep .",
        "ls /sys/devices/virtual/powercap | grep .",
        "dmesg",
        "ip link add x type dummy",
        "chroot /proc/1/root/.. ls /usr",
    ];
    for command in refused {
        let ended = sandbox.sh(command);
        assert!(ended.status != 0, "{command}: {ended:?}");
    }
    // Whatever the root is entered by, nothing above it is there.
    let out = sandbox.sh("ls -a /.. /proc/1/root/.. /proc/self/cwd/../../.. | sort -u").ok();
    assert!(!out.contains("usr"), "{out}");
    // No file of the host is open in it.
    let files = sandbox.run(sandbox.request(&["/bin/ls", "/proc/self/fd"])).unwrap().ok();
    assert_eq!(files, "0\n1\n2\n3\n", "the streams, and the folder that is listed");
}

#[test]
fn the_mounts_are_the_containers_own() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let out = sandbox.sh("while read a b c d target rest; do echo $target; done < /proc/self/mountinfo").ok();
    let expected = [
        "/",
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/dev/mqueue",
        "/dev/shm",
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
    ];
    let found: Vec<&str> = out.lines().collect();
    assert!(expected.iter().all(|path| found.contains(path)), "{out}");
    // What is left are the masks, as many as this kernel has.
    let mut rest = found.iter().filter(|path| !expected.contains(path));
    assert!(rest.all(|path| path.starts_with("/proc/") || path.starts_with("/sys/")), "{out}");
    // Its mount is nowhere on the host.
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(sandbox.path("upper").to_str().unwrap()));
}

#[test]
fn an_image_whose_folders_are_links_out_writes_nothing_outside() {
    if cannot_run() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "host").unwrap();
    let bind = |sandbox: &Sandbox, target: &str| Mount {
        target: target.to_owned(),
        read_only: false,
        source: MountSource::Bind {
            source: sandbox.path("image/etc"),
            subpath: None,
            propagation: Propagation::Private,
            recursive: true,
        },
    };

    // To an absolute path of the host: followed inside the container, where it is made.
    let sandbox = Sandbox::new();
    symlink(outside.path(), sandbox.path("image/data")).unwrap();
    symlink("../../../../../../../..", sandbox.path("image/up")).unwrap();
    let mut request = sandbox.shell("ls /up/mounted");
    request.mounts = vec![bind(&sandbox, "/up/mounted")];
    assert!(sandbox.run(request).unwrap().ok().contains("passwd"));
    let mut request = sandbox.shell("true");
    request.mounts = vec![bind(&sandbox, "/data/sub")];
    assert!(sandbox.run(request).is_err(), "a dangling link is not made into a folder");
    let mut request = sandbox.shell("true");
    request.files =
        vec![InjectedFile { target: "/data/file".into(), content: b"evil".into(), uid: 0, gid: 0, mode: 0o444 }];
    assert!(sandbox.run(request).is_err());
    let mut request = sandbox.shell("pwd");
    request.process.working_dir = "/data/new".into();
    assert!(sandbox.run(request).is_err());
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "host");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);

    // Into the kernel's own file systems: what relies on them must not be feigned.
    for (link, target) in [("/proc", "/data/self/attr"), ("/proc/sys", "/data/kernel"), ("/proc/self", "/data/fd")] {
        let sandbox = Sandbox::new();
        symlink(link, sandbox.path("image/data")).unwrap();
        let mut request = sandbox.shell("true");
        request.mounts = vec![bind(&sandbox, target)];
        let error = sandbox.run(request).unwrap_err().to_string();
        assert!(error.contains("EPERM") || error.contains("ENOENT"), "{error}");
    }
    for target in ["/proc/self", "/proc/sys", "/proc"] {
        let sandbox = Sandbox::new();
        let mut request = sandbox.shell("true");
        request.mounts = vec![bind(&sandbox, target)];
        let error = sandbox.run(request).unwrap_err().to_string();
        assert_eq!(error, format!("\"{target}\" cannot be mounted because it is inside /proc"));
    }

    // The folders of Docker's own mounts as links, where no init layer lies on top.
    for folder in ["proc", "dev", "sys"] {
        let sandbox = Sandbox::new();
        symlink(outside.path(), sandbox.path("image").join(folder)).unwrap();
        let mut request = sandbox.shell("true");
        request.rootfs.lower.remove(0);
        let error = sandbox.run(request).unwrap_err().to_string();
        assert!(error.contains("ELOOP"), "{error}");
    }
}

#[test]
fn a_working_directory_among_open_files_leads_nowhere() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    for number in 0..40 {
        for path in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/../../..")] {
            let mut request = sandbox.shell("ls; pwd");
            request.process.working_dir = path;
            // The streams may be there, as what they are: no folders.
            match sandbox.run(request) {
                Err(StartError::Step(error)) => assert_eq!(error.call, "chdir"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// CVE-2019-5736: a program of the image makes the kernel execute "this process" (`#!/proc/self/exe`), and so gets hold of
/// the file of whoever starts containers. Those run from a mount on which that file can't be written.
#[test]
fn the_file_that_starts_containers_cannot_be_opened_for_writing_by_way_of_a_process() {
    if cannot_run() {
        return;
    }
    let file = own_binary().unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    assert_eq!(fs::read(&path).unwrap().get(..4), Some(&b"\x7fELF"[..]));
    // Its being in use protects the file only while it is, the mount for ever.
    assert!(fs::File::options().write(true).open(&path).is_err());
    assert!(fstatvfs(&file).unwrap().flags().contains(FsFlags::ST_RDONLY));

    // What is executed from there is found there.
    let copy = Command::new(&path).args(["--list", "--format", "terse", "no such test"]).output().unwrap();
    assert!(copy.status.success(), "{copy:?}");
}
