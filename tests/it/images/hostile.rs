//! Archives that want out of their layer, or to keep the machine busy. None touches a byte outside.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use xcompose::runtime::image::unpack::{Owner, Whiteouts, unpack};

use super::raw::{Raw, chain, store};
use crate::support::cannot_run;

/// Imports the archive beside a file `victim` that lies where climbing out leads to. Gives the layer, or why there is none.
fn import(archive: &[u8], check: impl FnOnce(Result<&Path, String>)) {
    let (folder, store, _) = store();
    let victims: Vec<PathBuf> = ["victim", "data/victim", "data/images/victim", "data/images/tmp/victim"]
        .map(|path| folder.path().join(path))
        .to_vec();
    for victim in &victims {
        fs::write(victim, "untouched").unwrap();
        fs::set_permissions(victim, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let _ = fs::remove_file(folder.path().join("data/images/tmp/victim"));
    let result = store.import(archive, None);
    let image = result.as_ref().map(|id| store.image(id).unwrap().unwrap());
    match &image {
        Ok(image) => check(Ok(&image.layers[0])),
        Err(error) => {
            check(Err(chain(*error)));
            assert_eq!(store.list().unwrap(), [], "a refused archive leaves no image");
            assert_eq!(fs::read_dir(folder.path().join("data/images/layers")).unwrap().count(), 0);
        }
    }
    assert_eq!(fs::read_dir(folder.path().join("data/images/tmp")).unwrap().count(), 0, "nothing half-made stays");
    for victim in &victims[..3] {
        let status = fs::metadata(victim).unwrap();
        assert_eq!((fs::read_to_string(victim).unwrap().as_str(), status.mode() & 0o7777), ("untouched", 0o600));
    }
}

fn refused(archive: Raw, words: &str) {
    import(&archive.end(), |result| {
        let error = result.expect_err("this archive is refused");
        assert!(error.contains(words), "{error}");
    });
}

#[test]
fn a_name_that_climbs_out_is_refused_and_an_absolute_one_lies_inside() {
    if cannot_run() {
        return;
    }
    refused(Raw::default().file("../victim", "touched"), r#""../victim" leads out of the archive"#);
    refused(Raw::default().folder("a").file("a/../../victim", "touched"), "leads out of the archive");
    refused(Raw::default().folder(".."), "leads out of the archive");
    import(&Raw::default().file("/etc/passwd", "inside").file("a/../b", "b").end(), |layer| {
        let layer = layer.unwrap();
        assert_eq!(fs::read_to_string(layer.join("etc/passwd")).unwrap(), "inside");
        assert_eq!(fs::read_to_string(layer.join("b")).unwrap(), "b");
    });
}

#[test]
fn a_symbolic_link_as_a_folder_leads_to_the_same_place_inside_the_layer() {
    if cannot_run() {
        return;
    }
    let climbing = Raw::default().folder("real").symlink("out", "../../../..").file("out/victim", "inside");
    import(&climbing.end(), |layer| {
        assert_eq!(fs::read_to_string(layer.unwrap().join("victim")).unwrap(), "inside");
    });
    let absolute = Raw::default().symlink("etc", "/real").folder("real").file("etc/passwd", "inside");
    import(&absolute.end(), |layer| {
        assert_eq!(fs::read_to_string(layer.unwrap().join("real/passwd")).unwrap(), "inside");
    });
    // A link to what does not exist here is no folder, wherever it would lead outside.
    refused(Raw::default().symlink("out", "/proc/self/cwd").file("out/victim", "touched"), "cannot be made");
    refused(Raw::default().symlink("loop", "loop").file("loop/x", "touched"), "cannot be made");
}

#[test]
fn a_later_entry_replaces_a_link_and_not_what_the_link_leads_to() {
    if cannot_run() {
        return;
    }
    let archive = Raw::default().file("target", "first").symlink("link", "target").file("link", "second");
    import(&archive.end(), |layer| {
        let layer = layer.unwrap();
        assert_eq!(fs::read_to_string(layer.join("target")).unwrap(), "first");
        assert!(fs::symlink_metadata(layer.join("link")).unwrap().is_file());
    });
    // The mode of a link's entry is not the mode of what it leads to.
    let archive = Raw::default().mode(b'0', "target", b"", 0o600).symlink("link", "target");
    import(&archive.end(), |layer| {
        assert_eq!(fs::metadata(layer.unwrap().join("target")).unwrap().mode() & 0o7777, 0o600);
    });
    // A folder entry over a link to a folder becomes a folder of its own.
    let archive = Raw::default().folder("real").symlink("link", "/real").folder("link").file("link/x", "x");
    import(&archive.end(), |layer| {
        let layer = layer.unwrap();
        assert!(fs::symlink_metadata(layer.join("link")).unwrap().is_dir() && !layer.join("real/x").exists());
    });
}

#[test]
fn a_hard_link_reaches_only_what_lies_in_the_layer() {
    if cannot_run() {
        return;
    }
    refused(Raw::default().hard_link("mine", "../victim"), "leads out of the archive");
    refused(Raw::default().hard_link("mine", "/etc/passwd"), "cannot be made");
    refused(Raw::default().symlink("out", "../../../..").hard_link("mine", "out/victim"), "cannot be made");
    refused(Raw::default().folder("d").hard_link("mine", "d"), "cannot be made");
    // Linking to a link links the link, so that what is written to the new name replaces it.
    let archive = Raw::default().symlink("out", "/etc/passwd").hard_link("mine", "out").file("mine", "inside");
    import(&archive.end(), |layer| {
        assert!(fs::symlink_metadata(layer.unwrap().join("mine")).unwrap().is_file());
    });
    let archive = Raw::default().file("one", "same").hard_link("two", "./one");
    import(&archive.end(), |layer| {
        let layer = layer.unwrap();
        let inode = |name| fs::metadata(layer.join(name)).unwrap().ino();
        assert_eq!(inode("one"), inode("two"));
    });
    // The last entry that names a file says what may be done with it, as with Docker.
    let archive =
        Raw::default().file("one", "same").hard_link("two", "one").records(&[("uid", b"7")]).hard_link("three", "one");
    import(&archive.end(), |layer| {
        let status = fs::metadata(layer.unwrap().join("one")).unwrap();
        assert_eq!((status.mode() & 0o7777, status.uid(), status.nlink()), (0o755, 7, 3));
    });
}

#[test]
fn a_sparse_file_keeps_its_holes_and_the_one_at_its_end() {
    if cannot_run() {
        return;
    }
    let sparse = |name: &'static [u8], map: &'static [u8], content| {
        let records = [("GNU.sparse.name", name), ("GNU.sparse.size", b"9437184"), ("GNU.sparse.map", map)];
        Raw::default().records(&records).file("placeholder", content)
    };
    for (map, content, data) in [
        (&b"4194304,3,9437184,0"[..], "abc", Some((4_194_304, "abc"))),
        (b"4194304,3", "abc", Some((4_194_304, "abc"))),
        (b"9437184,0", "", None),
        (b"9437181,3", "end", Some((9_437_181, "end"))),
    ] {
        import(&sparse(b"holes", map, content).end(), |layer| {
            let path = layer.unwrap().join("holes");
            let status = fs::metadata(&path).unwrap();
            assert_eq!(status.len(), 9_437_184, "{}", map.escape_ascii());
            assert!(status.blocks() < 1000, "{} blocks", status.blocks());
            let bytes = fs::read(&path).unwrap();
            let found = data.is_none_or(|(at, text): (usize, &str)| bytes[at..at + text.len()] == *text.as_bytes());
            assert!(found, "{}", map.escape_ascii());
            assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), content.len());
        });
    }
}

#[test]
fn device_nodes_are_made_only_where_they_are_harmless() {
    if cannot_run() {
        return;
    }
    refused(Raw::default().device(b'4', "disk", (8, 0)), r#""disk" is a device node outside of /dev"#);
    refused(Raw::default().device(b'3', "mem", (1, 1)), "device node");
    // 0:0 would hide a name of a lower layer without saying so.
    refused(Raw::default().device(b'3', "hidden", (0, 0)), "device node");
    let archive = Raw::default().folder("dev").device(b'4', "dev/sda", (8, 0)).device(b'3', "dev/null", (1, 3));
    import(&archive.end(), |layer| {
        let layer = layer.unwrap();
        assert!(!layer.join("dev/sda").exists());
        let null = fs::metadata(layer.join("dev/null")).unwrap();
        assert!(null.file_type().is_char_device() && null.mode() & 0o777 == 0o666);
    });
}

#[test]
fn attributes_that_speak_to_the_kernel_outside_are_dropped() {
    if cannot_run() {
        return;
    }
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let archive = Raw::default()
        .records(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/../../../../etc"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"x"),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"kept"),
        ])
        .file("tool", "x");
    import(&archive.end(), |layer| {
        let path = layer.unwrap().join("tool");
        let mut names = vec![0; 1024];
        let length = rustix::fs::listxattr(&path, names.as_mut_slice()).unwrap();
        let mut names: Vec<_> = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        assert_eq!(names, [&b"security.capability"[..], b"user.note"]);
    });
}

#[test]
fn whiteouts_hide_only_names_and_become_the_kernels() {
    if cannot_run() {
        return;
    }
    refused(Raw::default().file(".wh.", ""), "hides nothing");
    refused(Raw::default().folder("d").file("d/.wh...", ""), "hides nothing");
    refused(Raw::default().file(".wh..", ""), "hides nothing");
    let archive = Raw::default()
        .file(".wh.gone", "")
        .file("d/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "")
        .file(".wh.again", "")
        .folder("again")
        .file("kept", "here")
        .file(".wh.kept", "");
    import(&archive.end(), |layer| {
        let layer = layer.unwrap();
        let gone = fs::symlink_metadata(layer.join("gone")).unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        let opaque = |name: &str| {
            let mut value = [0; 8];
            rustix::fs::getxattr(layer.join(name), c"trusted.overlay.opaque", &mut value).map(|_| value[0])
        };
        assert_eq!((opaque("d"), opaque("again")), (Ok(b'y'), Ok(b'y')));
        assert_eq!(fs::read_to_string(layer.join("kept")).unwrap(), "here");
        assert_eq!(fs::read_dir(layer).unwrap().count(), 4, "marks are no files");
    });
}

#[test]
fn duplicates_end_as_the_last_one_whatever_they_were() {
    if cannot_run() {
        return;
    }
    let mut archive = Raw::default();
    for round in 0..50 {
        archive = archive.folder("x").file("x/y", "deep").symlink("x", "/").file("x", &round.to_string());
    }
    import(&archive.end(), |layer| {
        let layer = layer.unwrap();
        assert_eq!(fs::read_to_string(layer.join("x")).unwrap(), "49");
        assert_eq!(fs::read_dir(layer).unwrap().count(), 1);
    });
}

#[test]
fn a_name_too_deep_is_refused_and_a_tree_made_deep_by_links_goes_again() {
    if cannot_run() {
        return;
    }
    refused(Raw::default().file(&"d/".repeat(100_000), "x"), "lies too deep");
    let part = "d/".repeat(500);
    let mut archive = Raw::default().file(&format!("{part}x"), "x").symlink("l0", &part);
    for step in 0..8 {
        archive = archive
            .file(&format!("l{step}/{part}x"), "x")
            .symlink(&format!("l{}", step + 1), &format!("l{step}/{part}"));
    }
    // Climbing out at the end makes the whole of it go.
    refused(archive.file("../victim", "touched"), "leads out of the archive");
}

/// Whoever may write to a layer while it is unpacked can make a folder into a link and back at any moment.
#[test]
fn a_link_swapped_in_while_an_archive_is_unpacked_leads_nowhere_outside() {
    if cannot_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (layer, outside, swapped) = (path("layer"), path("outside"), path("layer/swapped"));
    for made in [&layer, &outside, &layer.join("d")] {
        fs::create_dir(made).unwrap();
    }
    fs::write(outside.join("victim"), "untouched").unwrap();
    symlink(&outside, &swapped).unwrap();
    let mut archive = Raw::default();
    for number in 0..4000 {
        archive = archive
            .file(&format!("d/sub{number}/file"), "inside")
            .file("d/victim", "touched")
            .symlink("d/link", "victim")
            .file(&format!("d/.wh.{number}"), "");
    }
    let archive = archive.end();
    let root = OwnedFd::from(fs::File::open(&layer).unwrap());
    let over = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !over.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                swaps += u64::from(rustix::fs::renameat_with(&root, "d", &root, "swapped", flags).is_ok());
            }
            swaps
        });
        for _ in 0..3 {
            // Whether it comes to its end is a matter of luck.
            let _ = unpack(&archive[..], &root, Path::new(""), Whiteouts::Layer, Owner::Archive);
        }
        over.store(true, Ordering::Relaxed);
        swapper.join().unwrap()
    });
    assert!(swaps > 0, "nothing was swapped");
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
}

#[test]
fn a_bomb_of_either_packing_is_stopped() {
    if cannot_run() {
        return;
    }
    // 2 GiB of zeros, packed in pieces that are all the same, so that only the packed form is ever in memory.
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(2 << 30);
    header.set_mode(0o644);
    header.set_cksum();
    let zeros = vec![0; 32 << 20];
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for pack in [&gzip as &dyn Fn(&[u8]) -> Vec<u8>, &zstd] {
        let bomb = [pack(header.as_bytes()), pack(&zeros).repeat(64)].concat();
        assert!(bomb.len() < 16 << 20);
        import(&bomb, |result| {
            let error = result.expect_err("a bomb is refused");
            assert!(error.contains("no honest archive"), "{error}");
        });
    }
}

#[test]
fn an_archive_that_ends_early_or_is_none_is_refused() {
    if cannot_run() {
        return;
    }
    let whole = Raw::default().file("a", &"text".repeat(1000)).end();
    for (bytes, words) in [
        (whole[..2000].to_vec(), "it ends within an entry"),
        (whole[..700].to_vec(), "it ends within an entry"),
        (whole[..100].to_vec(), "it ends within a header"),
        (b"this is a text and no archive at all".repeat(100), "no tar header"),
        (b"BZh91AY&SY".repeat(100), "bzip2"),
    ] {
        import(&bytes, |result| {
            let error = result.expect_err("this is no archive");
            assert!(error.contains(words), "{error}");
        });
    }
}

#[test]
fn set_user_id_bits_owners_and_times_survive() {
    if cannot_run() {
        return;
    }
    let archive = Raw::default()
        .records(&[("uid", b"3000000"), ("gid", b"7"), ("mtime", b"123456789.25")])
        .mode(b'0', "su", b"x", 0o4755)
        .mode(b'5', "tmp", b"", 0o1777)
        .file("tmp/x", "x")
        .entry(b'6', "pipe", "", b"");
    import(&archive.end(), |layer| {
        let layer = layer.unwrap();
        let status = fs::metadata(layer.join("su")).unwrap();
        assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o4755, 3_000_000, 7));
        assert_eq!((status.mtime(), status.mtime_nsec()), (123_456_789, 250_000_000));
        let tmp = fs::metadata(layer.join("tmp")).unwrap();
        assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 1_000_000_000), "made before what lies in it");
        assert!(fs::metadata(layer.join("pipe")).unwrap().file_type().is_fifo());
    });
}
