//! Files that are taken into an image: from the context (without what is ignored), from a stage, from an image.
//!
//! Everything is reached from one opened root and stays below it. What is taken is digested by content, kind and mode, not by time or
//! owner: that is what the cache goes by.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::runtime::build::ignore::Ignore;
use crate::runtime::build::wildcard::{Wildcard, Wildcards};
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::pack::{attribute, attribute_names};
use crate::runtime::image::tree::{kind, names, open_directory_in, open_in, status};
use crate::runtime::image::unpack::allowed;
use crate::runtime::sys::{OrOs, OsError};

/// Where files come from.
pub(in crate::runtime) struct Origin<'a> {
    pub(in crate::runtime) root: OwnedFd,
    /// What is not seen; only a context has it.
    pub(super) ignore: Option<&'a Ignore>,
}

/// One file to take.
#[derive(Debug)]
pub(in crate::runtime) struct Item {
    /// Below the origin's root.
    pub(in crate::runtime) path: PathBuf,
    /// Below the source it was selected by; empty for the source itself.
    pub(in crate::runtime) below: PathBuf,
    pub(in crate::runtime) status: FileStat,
    /// Of a symbolic link.
    pub(in crate::runtime) target: Option<OsString>,
}

/// One source: a file, or a folder with everything in it.
#[derive(Debug)]
pub(in crate::runtime) struct Selected {
    /// The last part of the name by which it was found.
    pub(in crate::runtime) name: OsString,
    /// The folders of that name (`COPY --parents`).
    pub(in crate::runtime) parents: PathBuf,
    /// Itself first, then what is below it, in order.
    pub(in crate::runtime) items: Vec<Item>,
}

/// What an instruction leaves out (`--exclude`).
#[derive(Default)]
pub(super) struct Exclude {
    pub(super) rules: Ignore,
    /// The folder that the patterns are relative to; without it each source is its own.
    pub(super) from: Option<PathBuf>,
}

impl Exclude {
    /// Whether it leaves out what is found at `path`, `below` its source.
    fn leaves_out(&self, path: &Path, below: &Path) -> bool {
        match &self.from {
            Some(from) => path.strip_prefix(from).is_ok_and(|path| self.rules.excludes(path)),
            None => self.rules.excludes(below),
        }
    }
}

impl Selected {
    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.items.first().is_some_and(|item| kind(&item.status) == SFlag::S_IFDIR)
    }
}

impl Origin<'_> {
    /// Everything below a directory.
    pub(in crate::runtime) fn all(root: OwnedFd) -> Origin<'static> {
        Origin { root, ignore: None }
    }

    /// Everything that a source names; nothing if there is no such file.
    pub(super) fn select(&self, source: &Wildcards, exclude: &Exclude) -> Result<Vec<Selected>, OsError> {
        let mut found = Vec::new();
        for path in self.expand(source)? {
            let name = path.file_name().unwrap_or_default().to_owned();
            // What is named as it stands is wanted.
            let is_found = !source.is_plain() || exclude.from.is_some();
            if is_found && exclude.leaves_out(&path, Path::new(&name)) {
                continue;
            }
            // A source that is a link stands for what it leads to, within the root (as BuildKit).
            let opened = match open_in(&self.root, &path, OFlag::O_PATH) {
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                other => other.or_os("open", path.display().to_string())?,
            };
            let status = fstat(&opened).or_os("stat", path.display().to_string())?;
            let excepted = self.ignore.is_some_and(Ignore::has_exceptions) && kind(&status) == SFlag::S_IFDIR;
            if !path.as_os_str().is_empty() && self.hides(&path) && !excepted {
                continue;
            }
            let mut items = vec![Item { path: path.clone(), below: PathBuf::new(), status, target: None }];
            if kind(&status) == SFlag::S_IFDIR {
                self.walk(&path, exclude, &mut items)?;
                if items.len() == 1 && !path.as_os_str().is_empty() && self.hides(&path) {
                    continue;
                }
            }
            let parents = path.parent().unwrap_or(Path::new("")).to_owned();
            found.push(Selected { name, parents, items });
        }
        Ok(found)
    }

    /// A folder by its plain name, with everything in it.
    pub(in crate::runtime) fn folder(&self, path: &Path) -> Result<Selected, OsError> {
        let opened = open_directory_in(&self.root, path).or_os("open", path.display().to_string())?;
        let status = fstat(&opened).or_os("stat", path.display().to_string())?;
        let mut items = vec![Item { path: path.to_owned(), below: PathBuf::new(), status, target: None }];
        self.walk(path, &Exclude::default(), &mut items)?;
        Ok(Selected { name: OsString::new(), parents: PathBuf::new(), items })
    }

    /// One file by its plain name, which is no pattern.
    pub(super) fn single(&self, path: &Path) -> Result<Selected, OsError> {
        let opened = open_in(&self.root, path, OFlag::O_PATH).or_os("open", path.display().to_string())?;
        let status = fstat(&opened).or_os("stat", path.display().to_string())?;
        let items = vec![Item { path: path.to_owned(), below: PathBuf::new(), status, target: None }];
        Ok(Selected { name: path.file_name().unwrap_or_default().to_owned(), parents: PathBuf::new(), items })
    }

    fn hides(&self, path: &Path) -> bool {
        self.ignore.is_some_and(|ignore| ignore.excludes(path))
    }

    /// The paths that a source with wildcards stands for.
    fn expand(&self, source: &Wildcards) -> Result<Vec<PathBuf>, OsError> {
        let mut paths = vec![PathBuf::new()];
        for part in &source.0 {
            let mut next = Vec::new();
            for path in paths {
                match part {
                    Wildcard::Plain(name) => next.push(path.join(name)),
                    Wildcard::Any(_) => {
                        let Ok(folder) = open_directory_in(&self.root, &path) else { continue };
                        let list = names(folder).or_os("read", path.display().to_string())?;
                        let matching = list.into_iter().filter(|(name, _)| part.matches(&name.to_string_lossy()));
                        next.extend(matching.map(|(name, _)| path.join(name)));
                    }
                }
            }
            paths = next;
        }
        Ok(paths)
    }

    fn walk(&self, top: &Path, exclude: &Exclude, items: &mut Vec<Item>) -> Result<(), OsError> {
        let mut folders = vec![(top.to_owned(), PathBuf::new())];
        while let Some((folder, below)) = folders.pop() {
            let shown = || folder.display().to_string();
            let opened = open_directory_in(&self.root, &folder).or_os("open", shown())?;
            for (name, _) in names(&opened).or_os("read", shown())? {
                let (path, below) = (folder.join(&name), below.join(&name));
                // A file that goes meanwhile was none.
                let Some(status) = status(&opened, &name).or_os("stat", path.display().to_string())? else { continue };
                let directory = kind(&status) == SFlag::S_IFDIR;
                let hidden = self.hides(&path);
                let left_out = exclude.leaves_out(&path, &below);
                if directory
                    && (!hidden || self.ignore.is_some_and(Ignore::has_exceptions))
                    && (!left_out || exclude.rules.has_exceptions())
                {
                    folders.push((path.clone(), below.clone()));
                }
                if hidden || left_out {
                    continue;
                }
                let target = match kind(&status) {
                    SFlag::S_IFLNK => {
                        Some(readlinkat(&opened, name.as_os_str()).or_os("readlink", path.display().to_string())?)
                    }
                    _ => None,
                };
                items.push(Item { path, below, status, target });
            }
        }
        items.sort_by(|a, b| a.below.cmp(&b.below));
        Ok(())
    }

    /// A digest of what was selected: names, kinds, modes and contents.
    pub(super) fn digest(&self, selected: &[Selected]) -> Result<Digest, OsError> {
        let items: Vec<&Item> = selected.iter().flat_map(|one| &one.items).collect();
        let contents = self.contents(&items)?;
        let mut text = Vec::new();
        let mut field = |bytes: &[u8]| {
            text.extend((bytes.len() as u64).to_le_bytes());
            text.extend(bytes);
        };
        let mut contents = contents.iter();
        for one in selected {
            field(one.name.as_bytes());
            field(one.parents.as_os_str().as_bytes());
            for (item, content) in one.items.iter().zip(&mut contents) {
                field(item.below.as_os_str().as_bytes());
                field(&item.status.st_mode.to_le_bytes());
                field(content);
            }
            field(b"end");
        }
        Ok(Digest::of(&text))
    }

    /// What is in each: of files the digest, of links the target. On all processors.
    fn contents(&self, items: &[&Item]) -> Result<Vec<Vec<u8>>, OsError> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Vec<u8>)>, OsError> {
            let mut done = Vec::new();
            let mut buffer = vec![0; 128 * 1024];
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(at) else { return Ok(done) };
                done.push((at, self.content(item, &mut buffer)?));
            }
        };
        // Threads cost more than a few small files.
        let bytes: i64 = items.iter().map(|item| item.status.st_size).sum();
        let small = items.len() < 64 && bytes < 4 << 20;
        let threads = if small { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
        let parts = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut parts = vec![work()];
            parts.extend(
                others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            );
            parts
        });
        let mut contents = vec![Vec::new(); items.len()];
        for part in parts {
            for (at, content) in part? {
                contents[at] = content;
            }
        }
        Ok(contents)
    }

    fn content(&self, item: &Item, buffer: &mut [u8]) -> Result<Vec<u8>, OsError> {
        if let Some(target) = &item.target {
            return Ok(target.as_bytes().to_vec());
        }
        if kind(&item.status) != SFlag::S_IFREG {
            return Ok(Vec::new());
        }
        let shown = || item.path.display().to_string();
        let file = open_in(&self.root, &item.path, OFlag::O_RDONLY).or_os("open", shown())?;
        let mut extended = Vec::new();
        for name in attribute_names(&file).or_os("listxattr", shown())? {
            if allowed(&name) {
                extended.extend(attribute(&file, &name).or_os("getxattr", shown())?);
                extended.extend(name);
            }
        }
        let mut digester = Digester::new(File::from(file));
        while count(digester.read(buffer)).or_os("read", shown())? > 0 {}
        let mut content = digester.finish().0.hex().as_bytes().to_vec();
        content.extend(extended);
        Ok(content)
    }
}

/// Reads that were interrupted are no end.
fn count(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(1),
        other => other,
    }
}
