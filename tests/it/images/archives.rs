//! Import, save and load; and with the tools of others.

use std::fs;
use std::path::Path;
use std::process::Command;

use xcompose::engine::{EngineError, ImageId};
use xcompose::runtime::image::remove::InUse;
use xcompose::runtime::image::store::Store;
use xcompose::values::image_ref::ImageRef;

use super::raw::{Raw, chain, store};
use crate::support::{busybox_archive, cannot_run, finish};

fn name(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// An image of two layers in `docker save`'s old form, the second hiding a file of the first.
fn docker_archive() -> Vec<u8> {
    use sha2::Digest as _;
    let lower = Raw::default().folder("etc").file("etc/old", "old").file("etc/kept", "the lower file").end();
    let upper = Raw::default().folder("etc").file("etc/.wh.old", "").file("etc/new", "new").end();
    let digest = |bytes: &[u8]| format!("sha256:{:x}", sha2::Sha256::digest(bytes));
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"],"Env":null}},"rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
        digest(&lower),
        digest(&upper)
    );
    let manifest =
        r#"[{"Config":"c.json","RepoTags":["web:1","registry.example/web:2"],"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    Raw::default()
        .entry(b'0', "a/layer.tar", "", &lower)
        .entry(b'0', "x/layer.tar", "", &upper)
        .symlink("b/layer.tar", "../x/layer.tar")
        .file("c.json", &config)
        .file("manifest.json", manifest)
        .end()
}

#[test]
fn what_is_saved_loads_elsewhere_as_the_same_image_and_saves_as_the_same_bytes() {
    if cannot_run() {
        return;
    }
    let (_first, one, _) = store();
    let names = one.load_archive(&docker_archive()[..]).unwrap();
    assert_eq!(names, [name("web:1"), name("registry.example/web:2")]);
    let image = one.resolve(&names[0]).unwrap().unwrap();
    assert_eq!(image.layers.len(), 2);
    assert_eq!(fs::read_to_string(image.layers[0].join("etc/old")).unwrap(), "old");
    let mut saved = Vec::new();
    one.save(&names, &mut saved).unwrap();

    let (_second, two, _) = store();
    assert_eq!(two.load_archive(&saved[..]).unwrap(), names);
    assert_eq!(two.resolve(&names[1]).unwrap().unwrap().id, image.id);
    let mut again = Vec::new();
    two.save(&names, &mut again).unwrap();
    assert!(saved == again, "the same images give the same bytes");

    let zipped = zstd::encode_all(&saved[..], 1).unwrap();
    let (_third, three, _) = store();
    assert_eq!(three.load_archive(&zipped[..]).unwrap(), names);
}

#[test]
fn a_layer_or_blob_of_another_digest_is_refused_and_leaves_nothing() {
    if cannot_run() {
        return;
    }
    let (_folder, store, _) = store();
    let replace = |bytes: &[u8], from: &[u8], to: &[u8]| {
        let mut bytes = bytes.to_vec();
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to);
        bytes
    };
    let docker = docker_archive();
    let error = store.load_archive(&replace(&docker, b"the lower file", b"the lower fire")[..]).unwrap_err();
    assert!(chain(&error).contains("layer a/layer.tar") && chain(&error).contains("digest"), "{}", chain(&error));
    let error = store.load_archive(&replace(&docker, b"a/layer.tar\"", b"a/layer.xxx\"")[..]).unwrap_err();
    assert!(chain(&error).contains("a/layer.xxx is missing"), "{}", chain(&error));
    let error = store.load_archive(&Raw::default().file("x", "y").end()[..]).unwrap_err();
    assert!(chain(&error).contains("holds no images"), "{}", chain(&error));
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn images_are_found_by_name_by_identity_and_by_its_beginning() {
    if cannot_run() {
        return;
    }
    let (_folder, store, _) = store();
    let archive = Raw::default().file("a", "a").end();
    let id = store.import(&archive[..], Some(&name("base"))).unwrap();
    let digits = id.0.strip_prefix("sha256:").unwrap();
    for text in [
        "base",
        "base:latest",
        "docker.io/library/base",
        &id.0,
        digits,
        &digits[..12],
        &format!("sha256:{}", &digits[..6]),
    ] {
        assert_eq!(store.find(text).unwrap().map(|image| image.id).as_ref(), Some(&id), "{text}");
    }
    assert_eq!(store.resolve(&name(&digits[..12])).unwrap().unwrap().id, id);
    assert_eq!(store.resolve(&name(&id.0)).unwrap().unwrap().id, id);
    for text in ["other", "base:1", "zzzz"] {
        assert!(store.find(text).unwrap().is_none(), "{text}");
    }
}

#[test]
fn an_image_goes_with_its_last_name_unless_a_container_has_it() {
    if cannot_run() {
        return;
    }
    let (folder, store, _) = store();
    let layers = || fs::read_dir(folder.path().join("data/images/layers")).unwrap().count();
    let archive = Raw::default().file("a", "a").end();
    let id = store.import(&archive[..], Some(&name("one"))).unwrap();
    store.tag(&id, &name("two")).unwrap();
    assert_eq!(store.remove("one", false, &[]).unwrap(), ["Untagged: one:latest"]);
    let used = [InUse { image: id.clone(), holder: "container web-1".to_owned() }];
    let error = store.remove("two", false, &used).unwrap_err();
    assert_eq!(error.to_string(), "image two is in use by container web-1");
    assert_eq!(store.remove("two", true, &used).unwrap(), ["Untagged: two:latest", &format!("Deleted: {}", id.0)]);
    assert!(store.find("two").unwrap().is_none());
    assert_eq!(layers(), 1, "the container still stands on it");
    assert_eq!(store.layers_of(&id).unwrap().len(), 1);
    assert!(matches!(store.remove("two", false, &[]), Err(EngineError::NotFound(_))));
    assert!(store.prune(false, &[]).unwrap().lines.is_empty());
    assert_eq!(layers(), 0);
}

#[test]
fn while_somebody_holds_the_store_nothing_is_collected() {
    if cannot_run() {
        return;
    }
    let (folder, store, _) = store();
    let layers = || fs::read_dir(folder.path().join("data/images/layers")).unwrap().count();
    store.import(&Raw::default().file("a", "a").end()[..], Some(&name("one"))).unwrap();
    let hold = store.hold().unwrap();
    store.remove("one", false, &[]).unwrap();
    assert_eq!(layers(), 1);
    drop(hold);
    store.prune(false, &[]).unwrap();
    assert_eq!(layers(), 0);
}

#[test]
fn many_imports_and_removals_at_once_leave_every_listed_image_whole() {
    if cannot_run() {
        return;
    }
    let (_folder, store, _) = store();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..6 {
                    // Half of them make the same layer at once.
                    let content = if worker % 2 == 0 { round } else { worker * 100 + round };
                    let archive = Raw::default().file("content", &content.to_string()).end();
                    let tag = name(&format!("image-{worker}"));
                    let ImageId(id) = store.import(&archive[..], Some(&tag)).unwrap();
                    let image = store.find(&id).unwrap().unwrap();
                    assert_eq!(fs::read_to_string(image.layers[0].join("content")).unwrap(), content.to_string());
                    if round % 3 == 2 {
                        store.remove(&tag.to_string(), false, &[]).unwrap();
                    }
                }
            });
        }
    });
    for image in store.list().unwrap() {
        assert!(image.layers.iter().all(|layer| layer.join("content").exists()));
    }
}

/// What is at every path of a folder: kind, mode, owner, time, content.
fn tree(folder: &Path) -> String {
    let script = "find . -mindepth 1 -printf '%P %y %m %U:%G %s %Ts %l\\n' | sort; find . -type f -exec sha256sum {} + | sort -k2";
    let output = finish(Command::new("sh").args(["-c", script]).current_dir(folder)).ok();
    output.stdout()
}

#[test]
fn skopeo_reads_what_we_save_and_we_read_what_it_writes() {
    if cannot_run() {
        return;
    }
    let (folder, store, _) = store();
    let archive = busybox_archive(folder.path());
    let id = store.import(fs::File::open(archive).unwrap(), Some(&name("busybox:1"))).unwrap();
    let saved = folder.path().join("saved.tar");
    store.save(&[name("busybox:1")], fs::File::create(&saved).unwrap()).unwrap();
    let skopeo = |from: &str, to: &str| {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "-q", from, to]).current_dir(folder.path());
        finish(&mut command).ok();
    };
    skopeo("docker-archive:saved.tar:busybox:1", "oci:layout:tag");
    skopeo("oci-archive:saved.tar", "oci-archive:copied.tar:docker.io/library/copied:1");
    skopeo("oci:layout:tag", "docker-archive:docker.tar:docker.io/library/back:1");
    for (file, tag) in [("copied.tar", "copied:1"), ("docker.tar", "back:1")] {
        let names = store.load_archive(fs::File::open(folder.path().join(file)).unwrap()).unwrap();
        assert_eq!(names, [name(tag)], "{file}");
        let loaded = store.resolve(&names[0]).unwrap().unwrap();
        let ours = store.find(&id.0).unwrap().unwrap();
        assert_eq!(loaded.document.rootfs, ours.document.rootfs, "{file}");
    }
    // From nothing, through gzip, the files are the same to the last attribute.
    let (_other, fresh, _) = super::raw::store();
    let names = fresh.load_archive(fs::File::open(folder.path().join("copied.tar")).unwrap()).unwrap();
    let loaded = fresh.resolve(&names[0]).unwrap().unwrap();
    assert_eq!(tree(&loaded.layers[0]), tree(&store.find(&id.0).unwrap().unwrap().layers[0]));
    let mut again = Vec::new();
    Store::save(&fresh, &names, &mut again).unwrap();
    assert_eq!(store.load_archive(&again[..]).unwrap(), names);
}
