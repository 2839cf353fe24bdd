//! Any bytes are a layer: unpacking ends with files or with a refusal, never in a panic, and never touches what lies outside.
//!
//! Random bytes seldom are an archive, so the input is a list of small words that make entries: a kind, a name, a link and some data,
//! with a right checksum each. Names and links are built from parts that climb out, point elsewhere, repeat and hide.

#![no_main]

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use xcompose::runtime::image::unpack::{Owner, Whiteouts, unpack};

/// What entries are called and lead to.
const PARTS: [&str; 16] =
    ["a", "b", "..", ".", "/", "etc", ".wh.a", ".wh..wh..opq", "victim", "a/b", "../victim", "/victim", "b/..", "dev", "", "c"];

/// Kinds of entries, and one that is none.
const KINDS: [u8; 10] = *b"0123456gxZ";

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a directory for the inputs"));

fuzz_target!(|bytes: &[u8]| {
    let (outside, inside) = (DIRECTORY.path().to_owned(), DIRECTORY.path().join("layer"));
    let victim = outside.join("victim");
    fs::write(&victim, "untouched").expect("write the victim");
    fs::create_dir(&inside).expect("make the layer");
    let archive = if bytes.first().is_some_and(|byte| byte % 8 == 0) { bytes.to_vec() } else { entries(bytes) };
    let root = OwnedFd::from(File::open(&inside).expect("open the layer"));
    // Refused or not, both are right.
    let _ = unpack(&archive[..], &root, Path::new(""), Whiteouts::Layer, Owner::Archive);
    assert_eq!(fs::read(&victim).expect("the victim is there"), b"untouched");
    let mut names: Vec<PathBuf> = fs::read_dir(&outside).expect("list").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    assert_eq!(names, [inside.clone(), victim], "something was made outside");
    fs::remove_dir_all(&inside).expect("take the layer away");
});

fn entries(bytes: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    for word in bytes.chunks_exact(6) {
        let name = [word[1] >> 4, word[1] & 15, word[2] >> 4].map(|part| PARTS[usize::from(part)]).join("/");
        let link = [word[3] >> 4, word[3] & 15].map(|part| PARTS[usize::from(part)]).join("/");
        let data = vec![b'd'; usize::from(word[4] % 4) * 300];
        let kind = KINDS[usize::from(word[0]) % KINDS.len()];
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, &name.as_bytes()[..name.len().min(100)]);
        put(100, format!("{:07o}", u32::from(word[5]) * 16).as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", data.len()).as_bytes());
        put(136, b"00000000000");
        put(156, &[kind]);
        put(157, &link.as_bytes()[..link.len().min(100)]);
        put(257, b"ustar\0");
        put(263, b"00");
        put(329, format!("{:07o}", word[5] % 8).as_bytes());
        put(337, format!("{:07o}", word[4] % 16).as_bytes());
        put(148, b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(&data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}
