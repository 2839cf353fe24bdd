//! Archives written byte by byte, since no honest writer makes what the tests need.

use xcompose::runtime::image::store::Store;
use xcompose::runtime::layout::Layout;

/// An archive in the making.
#[derive(Default)]
pub struct Raw {
    bytes: Vec<u8>,
}

impl Raw {
    /// Adds an entry as it stands.
    pub fn entry(mut self, kind: u8, path: &str, link: &str, content: &[u8]) -> Raw {
        self.add(kind, path, link, content, (0, 0), 0o755);
        self
    }

    /// Adds an entry of this mode.
    pub fn mode(mut self, kind: u8, path: &str, content: &[u8], mode: u32) -> Raw {
        self.add(kind, path, "", content, (0, 0), mode);
        self
    }

    /// Adds a file.
    pub fn file(self, path: &str, content: &str) -> Raw {
        self.mode(b'0', path, content.as_bytes(), 0o644)
    }

    /// Adds a directory.
    pub fn folder(self, path: &str) -> Raw {
        self.entry(b'5', path, "", b"")
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Raw {
        self.entry(b'2', path, target, b"")
    }

    /// Adds a hard link.
    pub fn hard_link(self, path: &str, target: &str) -> Raw {
        self.entry(b'1', path, target, b"")
    }

    /// Adds a device node.
    pub fn device(mut self, kind: u8, path: &str, number: (u32, u32)) -> Raw {
        self.add(kind, path, "", b"", number, 0o666);
        self
    }

    /// Adds PAX records for the next entry.
    pub fn records(self, records: &[(&str, &[u8])]) -> Raw {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..4).map(|digits| rest + digits).find(|all| all.to_string().len() == all - rest).unwrap();
            text.extend(format!("{length} {key}=").bytes());
            text.extend(*value);
            text.push(b'\n');
        }
        self.entry(b'x', "records", "", &text)
    }

    fn add(&mut self, kind: u8, path: &str, link: &str, content: &[u8], device: (u32, u32), mode: u32) {
        let mut header = tar::Header::new_gnu();
        for (kind, long) in [(b'L', path), (b'K', link)] {
            if long.len() > 100 {
                self.add(kind, "././@LongLink", "", long.as_bytes(), (0, 0), 0);
            }
        }
        let old = header.as_old_mut();
        let length = path.len().min(100);
        old.name[..length].copy_from_slice(&path.as_bytes()[..length]);
        let length = link.len().min(100);
        old.linkname[..length].copy_from_slice(&link.as_bytes()[..length]);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_device_major(device.0).unwrap();
        header.set_device_minor(device.1).unwrap();
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    /// The whole archive.
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// A store of one's own.
pub fn store() -> (tempfile::TempDir, Store, Layout) {
    let folder = tempfile::Builder::new().prefix("xc-").tempdir().unwrap();
    let layout = Layout::new(folder.path().join("data"), folder.path().join("run"));
    let store = Store::open(&layout).unwrap();
    (folder, store, layout)
}

/// An error with everything below it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
