//! A small root file system made from Debian's static busybox.

use std::path::{Path, PathBuf};

/// An archive of a root file system: busybox under the names of its applets, and the few files a container looks for.
pub fn busybox_archive(folder: &Path) -> PathBuf {
    const APPLETS: &[&str] = &[
        "sh", "ash", "ls", "cat", "echo", "sleep", "true", "false", "id", "ps", "mount", "umount", "wget", "nslookup",
        "nc", "httpd", "kill", "hostname", "env", "touch", "mkdir", "rm", "chmod", "chown", "stat", "test", "seq",
        "yes", "head", "grep", "tr", "ip", "printf", "mknod", "ping", "rmdir", "find", "tar", "sort",
    ];
    let busybox = std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox"));
    let busybox = busybox.expect("Debian's busybox-static is installed");
    let path = folder.join("busybox.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&path).unwrap());
    let mut entry = |kind: tar::EntryType, name: &str, mode: u32, content: &[u8], link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        match link {
            Some(link) => archive.append_link(&mut header, name, link).unwrap(),
            None => archive.append_data(&mut header, name, content).unwrap(),
        }
    };
    for folder in ["bin", "etc", "tmp", "root", "var", "home"] {
        entry(tar::EntryType::Directory, folder, if folder == "tmp" { 0o1777 } else { 0o755 }, &[], None);
    }
    entry(tar::EntryType::Regular, "bin/busybox", 0o755, &busybox, None);
    for applet in APPLETS {
        entry(tar::EntryType::Symlink, &format!("bin/{applet}"), 0o777, &[], Some("busybox"));
    }
    entry(
        tar::EntryType::Regular,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home:/bin/sh\n",
        None,
    );
    entry(tar::EntryType::Regular, "etc/group", 0o644, b"root:x:0:\nalice:x:1000:\nwheel:x:10:alice\n", None);
    archive.finish().unwrap();
    path
}
