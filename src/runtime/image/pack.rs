//! From a directory (a layer, or a file system) to an archive: the reverse of `unpack`, always the same bytes for the same files.
//!
//! Names are in order, times are whole seconds (as Docker's are), and records are written only where a header can't say it. Marks of the
//! kernel's overlay become Docker's: a character device 0:0 is a whiteout, the attribute `trusted.overlay.opaque` an opaque directory.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, major, minor};

use crate::runtime::image::tree::{kind, names, open_directory_in, open_in, status};
use crate::runtime::image::unpack::{OPAQUE, OPAQUE_ATTRIBUTE, WHITEOUT, allowed};

const BLOCK: usize = 512;
/// The largest number a field of seven octal digits holds.
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;

/// Why a directory can't be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file can't be read.
    #[error("{path:?} cannot be read: {}", .errno.desc())]
    File {
        /// Below the directory.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The archive can't be written.
    #[error("the archive cannot be written")]
    Write(#[from] io::Error),
}

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::runtime) struct Packed {
    /// Bytes of its files.
    pub(in crate::runtime) size: u64,
    /// Entries.
    pub(in crate::runtime) entries: u64,
}

/// Writes the archive of everything below `root`.
pub(in crate::runtime) fn pack(root: &OwnedFd, output: impl Write) -> Result<Packed, PackError> {
    let mut packer =
        Packer { root, output, links: HashMap::new(), packed: Packed::default(), buffer: vec![0; 256 * 1024] };
    packer.below(Path::new(""))?;
    packer.end()
}

/// Writes the archive of one file or folder below `root`, by the last part of its name. A link is packed as a link.
pub(in crate::runtime) fn pack_one(root: &OwnedFd, path: &Path, output: impl Write) -> Result<Packed, PackError> {
    let Some(name) = path.file_name() else { return pack(root, output) };
    let parent = path.parent().unwrap_or(Path::new(""));
    let at = |errno| PackError::File { path: path.to_owned(), errno };
    let parent = open_directory_in(root, parent).map_err(at)?;
    let mut packer =
        Packer { root: &parent, output, links: HashMap::new(), packed: Packed::default(), buffer: vec![0; 256 * 1024] };
    let Some(found) = status(&parent, name).map_err(at)? else { return Err(at(Errno::ENOENT)) };
    packer.file(&parent, &name.to_owned(), Path::new(name), &found)?;
    if kind(&found) == SFlag::S_IFDIR {
        packer.below(Path::new(name))?;
    }
    packer.end()
}

struct Packer<'a, W> {
    root: &'a OwnedFd,
    output: W,
    /// Files with several names, by device and number: the first name of each.
    links: HashMap<(u64, u64), PathBuf>,
    packed: Packed,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<'_, W> {
    fn end(mut self) -> Result<Packed, PackError> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.packed)
    }

    /// Everything below a folder, in the order of a walk that sorts each directory. The stack holds names, not open directories: a tree may be deep.
    fn below(&mut self, top: &Path) -> Result<(), PackError> {
        let mut stack: Vec<(PathBuf, std::vec::IntoIter<(OsString, bool)>)> = Vec::new();
        stack.push((top.to_owned(), self.list(top)?));
        while let Some((folder, rest)) = stack.last_mut() {
            let Some((name, directory)) = rest.next() else {
                stack.pop();
                continue;
            };
            let path = folder.join(&name);
            let at = |errno| PackError::File { path: path.clone(), errno };
            let parent = open_directory_in(self.root, folder).map_err(at)?;
            let Some(status) = status(&parent, &name).map_err(at)? else { return Err(at(Errno::ENOENT)) };
            self.file(&parent, &name, &path, &status)?;
            if directory {
                let list = self.list(&path)?;
                stack.push((path, list));
            }
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<std::vec::IntoIter<(OsString, bool)>, PackError> {
        let list = open_directory_in(self.root, folder).and_then(names);
        Ok(list.map_err(|errno| PackError::File { path: folder.to_owned(), errno })?.into_iter())
    }

    fn file(&mut self, parent: &OwnedFd, name: &OsString, path: &Path, status: &FileStat) -> Result<(), PackError> {
        let at = |errno| PackError::File { path: path.to_owned(), errno };
        let kind = kind(status);
        let named = path.as_os_str().as_bytes();
        if kind == SFlag::S_IFCHR && status.st_rdev == 0 {
            let hidden = path.with_file_name(OsString::from_iter([WHITEOUT.as_ref(), name.as_os_str()]));
            return self.header(b'0', hidden.as_os_str().as_bytes(), &[], 0, &Attributes::none(status));
        }
        if kind == SFlag::S_IFSOCK {
            // A socket is nothing without its process; archives have no word for it.
            return Ok(());
        }
        if kind != SFlag::S_IFDIR && status.st_nlink > 1 {
            match self.links.entry((status.st_dev, status.st_ino)) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    let first = first.get().as_os_str().as_bytes().to_vec();
                    return self.header(b'1', named, &first, 0, &Attributes::of(status));
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(path.to_owned());
                }
            }
        }
        match kind {
            SFlag::S_IFDIR => {
                let directory = open_directory_in(parent, Path::new(name)).map_err(at)?;
                let (attributes, opaque) = attributes(&directory, status).map_err(at)?;
                self.header(b'5', &[named, b"/"].concat(), &[], 0, &attributes)?;
                if opaque {
                    self.header(b'0', path.join(OPAQUE).as_os_str().as_bytes(), &[], 0, &Attributes::none(status))?;
                }
                Ok(())
            }
            SFlag::S_IFREG => {
                let file = open_in(parent, Path::new(name), OFlag::O_RDONLY | OFlag::O_NOFOLLOW).map_err(at)?;
                let (attributes, _) = attributes(&file, status).map_err(at)?;
                let size = u64::try_from(status.st_size).unwrap_or(0);
                self.header(b'0', named, &[], size, &attributes)?;
                self.data(std::fs::File::from(file), size, path)
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(parent, name.as_os_str()).map_err(at)?;
                self.header(b'2', named, target.as_bytes(), 0, &Attributes::of(status))
            }
            SFlag::S_IFIFO => self.header(b'6', named, &[], 0, &Attributes::of(status)),
            SFlag::S_IFCHR => self.header(b'3', named, &[], 0, &Attributes::of(status)),
            SFlag::S_IFBLK => self.header(b'4', named, &[], 0, &Attributes::of(status)),
            _ => Err(at(Errno::EINVAL)),
        }
    }

    fn header(
        &mut self,
        kind: u8,
        path: &[u8],
        link: &[u8],
        size: u64,
        attributes: &Attributes,
    ) -> Result<(), PackError> {
        let mut header = tar::Header::new_ustar();
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut fits = |key: &str, value: u64, most: u64| {
            if value > most {
                records.push((key.into(), value.to_string().into()));
                return 0;
            }
            value
        };
        header.set_size(fits("size", size, OCTAL_11));
        header.set_uid(fits("uid", attributes.uid, OCTAL_7));
        header.set_gid(fits("gid", attributes.gid, OCTAL_7));
        header.set_mode(attributes.mode);
        match u64::try_from(attributes.mtime) {
            Ok(mtime) => header.set_mtime(fits("mtime", mtime, OCTAL_11)),
            Err(_) => {
                records.push((b"mtime".to_vec(), attributes.mtime.to_string().into()));
                header.set_mtime(0);
            }
        }
        header.set_entry_type(tar::EntryType::new(kind));
        let place = |field: &mut [u8; 100], text: &[u8], key: &str, records: &mut Vec<(Vec<u8>, Vec<u8>)>| {
            if text.len() > field.len() || !text.is_ascii() {
                records.push((key.into(), text.to_vec()));
            }
            // Readers without PAX see what fits.
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text[..length]);
        };
        let old = header.as_old_mut();
        place(&mut old.name, path, "path", &mut records);
        place(&mut old.linkname, link, "linkpath", &mut records);
        if kind == b'3' || kind == b'4' {
            header.set_device_major(u32::try_from(major(attributes.device)).unwrap_or(0))?;
            header.set_device_minor(u32::try_from(minor(attributes.device)).unwrap_or(0))?;
        }
        header.set_cksum();
        for (name, value) in &attributes.extended {
            records.push(([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone()));
        }
        if !records.is_empty() {
            records.sort();
            self.records(path, &records)?;
        }
        self.output.write_all(header.as_bytes())?;
        self.packed.size += size;
        self.packed.entries += 1;
        Ok(())
    }

    fn records(&mut self, path: &[u8], records: &[(Vec<u8>, Vec<u8>)]) -> Result<(), PackError> {
        let mut text = Vec::new();
        for (key, value) in records {
            // The length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            text.extend(length.to_string().bytes());
            text.push(b' ');
            text.extend(key);
            text.push(b'=');
            text.extend(value);
            text.push(b'\n');
        }
        let mut header = tar::Header::new_ustar();
        let name =
            [b"PaxHeaders.0/", path.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or(b"")].concat();
        let length = name.len().min(100);
        header.as_old_mut().name[..length].copy_from_slice(&name[..length]);
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(text.len() as u64);
        header.set_cksum();
        self.output.write_all(header.as_bytes())?;
        let length = text.len().next_multiple_of(BLOCK);
        text.resize(length, 0);
        Ok(self.output.write_all(&text)?)
    }

    fn data(&mut self, mut file: std::fs::File, size: u64, path: &Path) -> Result<(), PackError> {
        let mut rest = size;
        while rest > 0 {
            let most = usize::try_from(rest).unwrap_or(usize::MAX).min(self.buffer.len());
            let count = file.read(&mut self.buffer[..most]);
            match count {
                // A layer does not change; a file that shrinks meanwhile is none of a layer.
                Ok(0) => return Err(PackError::File { path: path.to_owned(), errno: Errno::EIO }),
                Ok(count) => {
                    self.output.write_all(&self.buffer[..count])?;
                    rest -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                    return Err(PackError::File { path: path.to_owned(), errno });
                }
            }
        }
        let padding = size.wrapping_neg() % BLOCK as u64;
        Ok(self.output.write_all(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)])?)
    }
}

/// What a header says besides name, kind and length.
struct Attributes {
    uid: u64,
    gid: u64,
    mode: u32,
    mtime: i64,
    device: u64,
    extended: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    fn of(status: &FileStat) -> Attributes {
        Attributes {
            uid: status.st_uid.into(),
            gid: status.st_gid.into(),
            mode: status.st_mode & 0o7777,
            mtime: status.st_mtime,
            device: status.st_rdev,
            extended: Vec::new(),
        }
    }

    /// Of a mark: it is nobody's. Its time is the time of what it stands for.
    fn none(status: &FileStat) -> Attributes {
        Attributes { uid: 0, gid: 0, mode: 0, mtime: status.st_mtime, device: 0, extended: Vec::new() }
    }
}

/// What is kept of a file, and whether it is an opaque directory.
fn attributes(file: &OwnedFd, status: &FileStat) -> Result<(Attributes, bool), Errno> {
    let (mut kept, mut opaque) = (Attributes::of(status), false);
    for name in attribute_names(file)? {
        if name == OPAQUE_ATTRIBUTE.as_bytes() {
            opaque = true;
        } else if allowed(&name) {
            kept.extended.push((name.clone(), attribute(file, &name)?));
        }
    }
    Ok((kept, opaque))
}

/// The names of a file's extended attributes, sorted; none where the file system has none.
pub(in crate::runtime) fn attribute_names(file: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    // Most files have none, and the kernel never gives more than 64 KiB of names.
    let mut buffer = vec![0_u8; 1024];
    let length = loop {
        match rustix::fs::flistxattr(file, buffer.as_mut_slice()) {
            Ok(length) => break length,
            Err(rustix::io::Errno::RANGE) if buffer.len() < 65536 => buffer.resize(65536, 0),
            Err(rustix::io::Errno::NOTSUP) => break 0,
            Err(error) => return Err(Errno::from_raw(error.raw_os_error())),
        }
    };
    let mut names: Vec<Vec<u8>> =
        buffer[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    names.sort();
    Ok(names)
}

/// The value of an extended attribute.
pub(in crate::runtime) fn attribute(file: &OwnedFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0_u8; 65536];
    let length = rustix::fs::fgetxattr(file, name, buffer.as_mut_slice())
        .map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    buffer.truncate(length);
    Ok(buffer)
}
