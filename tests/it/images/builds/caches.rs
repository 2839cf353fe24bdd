//! Results that travel: `cache_to` and `cache_from`.

use std::collections::BTreeSet;
use std::fs;

use xcompose::engine::{CacheExtent, CacheStore, Engine};
use xcompose::runtime::Runtime;
use xcompose::runtime::image::store::Store;

use super::workshop::{Told, Workshop, read};
use crate::images::registries::{Door, Registry};
use crate::support::cannot_run;

fn cached(told: &Told) -> Vec<bool> {
    told.steps.iter().map(|(_, cached)| *cached).collect()
}

#[test]
fn another_store_takes_over_what_was_made_and_makes_what_does_not_fit() {
    if cannot_run() {
        return;
    }
    let text = "FROM busybox AS made\nRUN echo made > /made\nFROM busybox\nRUN rm /etc/group && echo own > /own\nCOPY --from=made /made /\n";
    for (extent, expected) in
        [(CacheExtent::All, [true, true, true, true, true]), (CacheExtent::Image, [true, false, true, true, true])]
    {
        let mut first = Workshop::new();
        let folder = first.folder.path().join("cache");
        first.config.cache_to = vec![CacheStore::Local { folder: folder.clone(), extent }];
        let (image, _) = first.build(text);
        let mut second = Workshop::new();
        second.config.cache_from = vec![CacheStore::Local { folder: folder.clone(), extent }];
        let (again, told) = second.build(text);
        assert_eq!(cached(&told)[..4], expected[..4], "{extent:?}");
        assert_eq!((read(&again, "made"), read(&again, "own")), ("made\n".into(), "own\n".into()));
        assert_eq!(again.config(), image.config());

        // A folder that lies or is torn gives nothing.
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "layer") {
                fs::write(entry.path(), "no archive").unwrap();
            }
        }
        let mut third = Workshop::new();
        third.config.cache_from = vec![CacheStore::Local { folder: folder.clone(), extent }];
        let (_, told) = third.build(text);
        assert_eq!(cached(&told)[..4], [true, false, true, false]);
        fs::write(folder.join("results.json"), "{").unwrap();
        third.config.cache_from.push(CacheStore::Other("type=gha".into()));
        third.build(text);
    }
}

#[test]
fn an_image_takes_results_along_its_own_or_one_for_them_alone() {
    if cannot_run() {
        return;
    }
    let registry = Registry::new(Door::Open);
    let text =
        "FROM busybox AS made\nRUN echo made > /made\nFROM busybox\nRUN echo own > /own\nCOPY --from=made /made /\n";
    let name = |image: &str| format!("{}/{image}", registry.address);
    let push = |shop: &Workshop| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let engine = Runtime::new(shop.layout.clone());
        let (sender, _) = tokio::sync::mpsc::channel(1);
        runtime.block_on(engine.push(&name("app:1").parse().unwrap(), sender)).unwrap();
    };
    for (to, from, expected) in [
        (format!("type=registry,ref={},mode=max", name("all:1")), name("all:1"), [true, true, true, true, true]),
        ("type=inline".to_owned(), format!("type=registry,ref={}", name("app:1")), [true, false, true, true, true]),
    ] {
        let mut first = Workshop::new();
        first.config.tags = vec![name("app:1").parse().unwrap()];
        first.config.cache_to = vec![to.parse().unwrap()];
        let (image, _) = first.build(text);
        push(&first);
        let listed = |shop: &Workshop| {
            let images = Store::open(&shop.layout).unwrap().list().unwrap();
            images.iter().flat_map(|image| &image.names).map(ToString::to_string).collect::<BTreeSet<_>>()
        };
        assert_eq!(listed(&first), [name("app:1"), "busybox".to_owned()].into(), "a cache is no image");
        let mut second = Workshop::new();
        second.config.cache_from = vec![from.parse().unwrap()];
        let (again, told) = second.build(text);
        assert_eq!(cached(&told)[..4], expected[..4], "{from}");
        assert_eq!((read(&again, "made"), read(&again, "own")), ("made\n".into(), "own\n".into()));
        assert_eq!(again.document.rootfs, image.document.rootfs);
        assert_eq!(listed(&second), ["busybox".to_owned(), "result".to_owned()].into(), "a cache is no image");
    }
    // One that is not there is told, and the build goes on.
    let mut third = Workshop::new();
    third.config.cache_from = vec![name("nowhere:1").parse().unwrap()];
    let (_, told) = third.build(text);
    assert_eq!(cached(&told)[..2], [true, false]);
}
