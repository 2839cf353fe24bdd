//! Results that travel: `cache_to` and `cache_from`.

use std::fs;

use xcompose::engine::{CacheExtent, CacheStore};

use super::workshop::{Told, Workshop, read};
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
