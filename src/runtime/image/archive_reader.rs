//! Reading tar archives of strangers: ustar, PAX and GNU, long names, sparse files, extended attributes.
//!
//! Nothing in an archive is believed: every length is bounded before memory is taken for it, every header has its sum checked. The
//! header's fields are decoded by the `tar` crate; its own entry iterator is not used because it takes as much memory as a header asks for.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// Go's and thus Docker's bound for the records that describe one entry.
const RECORDS_LIMIT: u64 = 1 << 20;
const BLOCK: usize = 512;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Its bytes can't be read or decompressed.
    #[error("the archive cannot be read")]
    Read(#[from] io::Error),
    /// It is no tar archive, or damaged.
    #[error("the archive is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where in the uncompressed archive.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
}

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) struct Entry {
    /// As written.
    pub(in crate::runtime) path: Vec<u8>,
    /// What it is.
    pub(in crate::runtime) kind: EntryKind,
    /// Permission bits, set-id and sticky bits.
    pub(in crate::runtime) mode: u32,
    /// Owner.
    pub(in crate::runtime) uid: u32,
    /// Group.
    pub(in crate::runtime) gid: u32,
    /// Time of last change: seconds and nanoseconds.
    pub(in crate::runtime) mtime: (i64, i64),
    /// Extended attributes.
    pub(in crate::runtime) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) enum EntryKind {
    /// A file of this size, of which only these pieces (offset, length) are stored, one after another.
    File {
        /// Length of the file.
        size: u64,
        /// What is stored; the rest is holes.
        pieces: Vec<(u64, u64)>,
    },
    /// Another name of an earlier entry.
    HardLink(Vec<u8>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A character device, major and minor.
    Character(u32, u32),
    /// A block device, major and minor.
    Block(u32, u32),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// The entries of an archive, in order. After each, its data may be read from the reader itself.
pub(in crate::runtime) struct ArchiveReader<R> {
    input: R,
    offset: u64,
    /// Bytes of the current entry's data that were not read yet.
    data: u64,
    /// Bytes between its data and the next header.
    padding: u64,
    global: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Length of a sparse file, and what of it is stored.
type Sparse = (u64, Vec<(u64, u64)>);

/// Records before an entry that say more of it than its header can.
#[derive(Default)]
struct Records {
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
    /// PAX sparse format 0.0 repeats its keys.
    pieces: Vec<(u64, u64)>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads from an uncompressed archive.
    pub(in crate::runtime) fn new(input: R) -> ArchiveReader<R> {
        ArchiveReader { input, offset: 0, data: 0, padding: 0, global: BTreeMap::new() }
    }

    /// Reads what is left, the padding at the end too, so that a digest of the whole stream is complete.
    pub(in crate::runtime) fn finish(mut self) -> Result<R, ArchiveError> {
        io::copy(&mut self.input, &mut io::sink())?;
        Ok(self.input)
    }

    /// The next entry; `None` at the end.
    pub(in crate::runtime) fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut records = Records { pax: self.global.clone(), ..Records::default() };
        loop {
            self.skip_data()?;
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? || block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            self.check_sum(&block)?;
            let header = tar::Header::from_byte_slice(&block);
            // Links and directories of some writers have no size at all.
            let blank = header.as_old().size.iter().all(|byte| matches!(byte, 0 | b' '));
            let size = if blank { Ok(0) } else { header.entry_size() };
            let size = size.map_err(|_| self.damaged("the size is no number"))?;
            match header.entry_type().as_byte() {
                b'x' => {
                    let text = self.read_record(size)?;
                    self.parse_pax(&text, &mut records)?;
                }
                b'g' => {
                    let text = self.read_record(size)?;
                    let mut global = Records::default();
                    self.parse_pax(&text, &mut global)?;
                    self.global.extend(global.pax.clone());
                    records.pax.extend(global.pax);
                }
                b'L' => records.path = Some(until_nul(self.read_record(size)?)),
                b'K' => records.link = Some(until_nul(self.read_record(size)?)),
                // A volume label is no file.
                b'V' => self.data_follows(size)?,
                _ => return self.entry(header, size, records).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &tar::Header, size: u64, mut records: Records) -> Result<Entry, ArchiveError> {
        let old = header.as_old();
        let number = |key: &[u8]| records.pax.get(key).and_then(|text| decimal(text));
        let size = number(b"size").unwrap_or(size);
        let wrong = |reason| ArchiveError::Damaged { offset: self.offset, reason };
        // As Go does, nothing is 0.
        let blank = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
        let id = |key: &[u8], field: &[u8], parsed: io::Result<u64>| {
            number(key)
                .or(if blank(field) { Some(0) } else { parsed.ok() })
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| wrong("an owner is no number that a system can have"))
        };
        let (uid, gid) = (id(b"uid", &old.uid, header.uid())?, id(b"gid", &old.gid, header.gid())?);
        let mode =
            if blank(&old.mode) { 0 } else { header.mode().map_err(|_| wrong("the mode is no number"))? & 0o7777 };
        let mtime = match records.pax.get(&b"mtime"[..]) {
            Some(text) => seconds(text).ok_or_else(|| wrong("a time is no number"))?,
            // Negative and absurd times come as base-256; 1970 is as good for them as any.
            None => (header.mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0), 0),
        };
        let device = || {
            let major = header.device_major().ok().flatten().ok_or_else(|| wrong("a device has no number"))?;
            let minor = header.device_minor().ok().flatten().ok_or_else(|| wrong("a device has no number"))?;
            Ok::<_, ArchiveError>((major, minor))
        };
        let path = records
            .pax
            .remove(&b"path"[..])
            .or(records.path.take())
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = records.pax.remove(&b"linkpath"[..]).or(records.link.take());
        let link = link.unwrap_or_else(|| header.link_name_bytes().map(Into::into).unwrap_or_default());
        let (mut data, mut kind) = (0, None);
        match header.entry_type().as_byte() {
            // Before POSIX a directory was a file whose name ends so.
            b'\0' | b'0' if path.ends_with(b"/") => kind = Some(EntryKind::Directory),
            b'\0' | b'0' | b'7' | b'S' => data = size,
            b'1' => kind = Some(EntryKind::HardLink(link)),
            b'2' => kind = Some(EntryKind::Symlink(link)),
            b'3' => kind = Some(device().map(|(major, minor)| EntryKind::Character(major, minor))?),
            b'4' => kind = Some(device().map(|(major, minor)| EntryKind::Block(major, minor))?),
            b'5' => kind = Some(EntryKind::Directory),
            b'6' => kind = Some(EntryKind::Fifo),
            _ => return Err(wrong("an entry is of a kind that nobody knows")),
        }
        let old_sparse = header.entry_type().as_byte() == b'S';
        let mut name = None;
        let kind = match kind {
            Some(kind) => {
                // Some writers give links the size of what they lead to, without any data.
                kind
            }
            None if old_sparse => {
                let (length, pieces) = self.gnu_sparse(header)?;
                self.data_follows(data)?;
                self.checked_file(length, pieces)?
            }
            None => {
                self.data_follows(data)?;
                name = records.pax.remove(&b"GNU.sparse.name"[..]);
                match self.pax_sparse(&records)? {
                    Some((length, pieces)) => self.checked_file(length, pieces)?,
                    None => EntryKind::File { size: data, pieces: vec![(0, data)] },
                }
            }
        };
        let attributes = records
            .pax
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value)));
        Ok(Entry { path: name.unwrap_or(path), kind, mode, uid, gid, mtime, attributes: attributes.collect() })
    }

    fn data_follows(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        if size > i64::MAX as u64 { Err(self.damaged("a size is absurd")) } else { Ok(()) }
    }

    fn skip_data(&mut self) -> Result<(), ArchiveError> {
        let rest = self.data + self.padding;
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink())?;
        self.offset += skipped;
        (self.data, self.padding) = (0, 0);
        if skipped < rest { Err(self.damaged("it ends within an entry")) } else { Ok(()) }
    }

    /// `false` at the end of the input.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.damaged("it ends within a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += BLOCK as u64;
        Ok(true)
    }

    fn check_sum(&self, block: &[u8; BLOCK]) -> Result<(), ArchiveError> {
        let header = tar::Header::from_byte_slice(block);
        let stored = header.cksum().map_err(|_| self.damaged("this is no tar header"))?;
        let sum = |value: fn(u8) -> i64| -> i64 {
            block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { value(*byte) }).sum()
        };
        // Old writers summed signed bytes.
        if [sum(|byte| byte.into()), sum(|byte| byte.cast_signed().into())].contains(&i64::from(stored)) {
            Ok(())
        } else {
            Err(self.damaged("this is no tar header, or a damaged one"))
        }
    }

    fn read_record(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > RECORDS_LIMIT {
            return Err(self.damaged("the records of an entry are longer than 1 MiB"));
        }
        self.data_follows(size)?;
        let mut bytes = Vec::new();
        self.by_ref().take(size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(self.damaged("it ends within an entry")) }
    }

    fn parse_pax(&self, mut text: &[u8], records: &mut Records) -> Result<(), ArchiveError> {
        let wrong = || self.damaged("a PAX record is malformed");
        let mut piece = None;
        while !text.is_empty() {
            let space = text.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = decimal(&text[..space]).and_then(|length| usize::try_from(length).ok()).ok_or_else(wrong)?;
            let record = text.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
            text = text.get(length..).ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"GNU.sparse.offset" => piece = Some(decimal(value).ok_or_else(wrong)?),
                b"GNU.sparse.numbytes" => {
                    records.pieces.push((piece.take().ok_or_else(wrong)?, decimal(value).ok_or_else(wrong)?));
                }
                // An empty value takes back what a global record said.
                _ if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") => {
                    records.pax.remove(key);
                }
                _ => {
                    records.pax.insert(key.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }

    /// The map of an old GNU sparse file: in its header and in blocks behind it.
    fn gnu_sparse(&mut self, header: &tar::Header) -> Result<Sparse, ArchiveError> {
        let wrong = |offset| ArchiveError::Damaged { offset, reason: "the map of a sparse file is malformed" };
        let gnu = header.as_gnu().ok_or(wrong(self.offset))?;
        let size = gnu.real_size().map_err(|_| wrong(self.offset))?;
        let mut pieces = Vec::new();
        let mut add = |block: &tar::GnuSparseHeader, offset| {
            if !block.is_empty() {
                pieces.push((block.offset().map_err(|_| wrong(offset))?, block.length().map_err(|_| wrong(offset))?));
            }
            Ok::<_, ArchiveError>(())
        };
        for block in &gnu.sparse {
            add(block, self.offset)?;
        }
        let mut more = gnu.is_extended();
        let mut blocks = 0;
        while more {
            let mut extension = tar::GnuExtSparseHeader::new();
            blocks += 1;
            if blocks * BLOCK as u64 > RECORDS_LIMIT || !self.read_block(extension.as_mut_bytes())? {
                return Err(wrong(self.offset));
            }
            for block in extension.sparse() {
                add(block, self.offset)?;
            }
            more = extension.is_extended();
        }
        Ok((size, pieces))
    }

    /// The map of a sparse file in the PAX formats 0.0, 0.1 and 1.0; `None` if it is not sparse.
    fn pax_sparse(&mut self, records: &Records) -> Result<Option<Sparse>, ArchiveError> {
        let offset = self.offset;
        let wrong = || ArchiveError::Damaged { offset, reason: "the map of a sparse file is malformed" };
        let number = |key: &[u8]| records.pax.get(key).and_then(|text| decimal(text));
        if number(b"GNU.sparse.major") == Some(1) {
            let size = number(b"GNU.sparse.realsize").ok_or_else(wrong)?;
            // Decimal numbers, a line each, at the beginning of the data, filled up to a block.
            let mut numbers = Vec::new();
            let (mut digits, mut count) = (Vec::new(), None);
            let mut read = 0;
            while count.is_none_or(|count| (numbers.len() as u64) < count * 2) {
                let mut byte = [0];
                read += 1;
                if read > RECORDS_LIMIT || digits.len() > 20 || self.read(&mut byte)? == 0 {
                    return Err(wrong());
                }
                if byte != *b"\n" {
                    digits.push(byte[0]);
                    continue;
                }
                let number = decimal(&digits).ok_or_else(wrong)?;
                digits.clear();
                if count.is_some() {
                    numbers.push(number)
                } else {
                    count = Some(number).filter(|count| *count <= RECORDS_LIMIT)
                }
                if count.is_none() {
                    return Err(wrong());
                }
            }
            io::copy(&mut self.by_ref().take(read.wrapping_neg() % BLOCK as u64), &mut io::sink())?;
            return Ok(Some((size, numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())));
        }
        let Some(size) = number(b"GNU.sparse.size").or(number(b"GNU.sparse.realsize")) else { return Ok(None) };
        if let Some(map) = records.pax.get(&b"GNU.sparse.map"[..]) {
            let numbers: Option<Vec<u64>> = map.split(|byte| *byte == b',').map(decimal).collect();
            let numbers = numbers.filter(|numbers| numbers.len() % 2 == 0).ok_or_else(wrong)?;
            return Ok(Some((size, numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())));
        }
        Ok(Some((size, records.pieces.clone())))
    }

    /// A file whose pieces are in order, within it, and exactly what is stored.
    fn checked_file(&self, size: u64, pieces: Vec<(u64, u64)>) -> Result<EntryKind, ArchiveError> {
        let (mut end, mut stored) = (0_u64, 0_u64);
        for (offset, length) in &pieces {
            let ordered = *offset >= end;
            end = offset.checked_add(*length).ok_or_else(|| self.damaged("the map of a sparse file is malformed"))?;
            stored = stored.saturating_add(*length);
            if !ordered || end > size {
                return Err(self.damaged("the map of a sparse file is out of order"));
            }
        }
        if stored == self.data && size <= i64::MAX as u64 {
            Ok(EntryKind::File { size, pieces })
        } else {
            Err(self.damaged("the map of a sparse file does not fit its data"))
        }
    }

    fn damaged(&self, reason: &'static str) -> ArchiveError {
        ArchiveError::Damaged { offset: self.offset, reason }
    }
}

/// The data of the current entry.
impl<R: Read> Read for ArchiveReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.data).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within an entry"));
        }
        self.data -= count as u64;
        self.offset += count as u64;
        Ok(count)
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// `-12.345` as seconds and nanoseconds, the second part never negative.
fn seconds(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: i64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let seconds: i64 = whole.parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, path: &str, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(2);
        header.set_mtime(3);
        header.set_cksum();
        header
    }

    fn blocks(parts: &[(tar::Header, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (header, data) in parts {
            bytes.extend(header.as_bytes());
            bytes.extend(*data);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }

    fn pax(records: &[(&str, &str)]) -> Vec<u8> {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length =
                (1..).map(|digits| rest + digits).find(|length| length.to_string().len() == length - rest).unwrap();
            text.extend(format!("{length} {key}={value}\n").bytes());
        }
        text
    }

    fn first(bytes: &[u8]) -> Result<Option<Entry>, ArchiveError> {
        ArchiveReader::new(bytes).next_entry()
    }

    #[test]
    fn pax_records_override_the_header_and_carry_attributes() {
        let records =
            pax(&[("path", "a/long/é"), ("mtime", "-1.25"), ("uid", "3000000"), ("SCHILY.xattr.user.k", "v\n=")]);
        let bytes =
            blocks(&[(header(b'x', "x", records.len() as u64), &records), (header(b'0', "short", 5), b"hello")]);
        let mut reader = ArchiveReader::new(&bytes[..]);
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!((entry.path.as_slice(), entry.uid, entry.gid), ("a/long/é".as_bytes(), 3_000_000, 2));
        assert_eq!(entry.mtime, (-2, 750_000_000));
        assert_eq!(entry.attributes[&b"user.k"[..]], b"v\n=");
        assert_eq!(io::read_to_string(&mut reader.by_ref().take(5)).unwrap(), "hello");
        assert_eq!(reader.next_entry().unwrap(), None);
    }

    #[test]
    fn gnu_long_names_are_read() {
        let name = format!("{}\0", "n".repeat(300));
        let bytes = blocks(&[(header(b'L', "././@LongLink", 301), name.as_bytes()), (header(b'2', "short", 0), b"")]);
        assert_eq!(first(&bytes).unwrap().unwrap().path, "n".repeat(300).as_bytes());
    }

    #[test]
    fn every_sparse_format_gives_the_same_pieces() {
        let expected = EntryKind::File { size: 5000, pieces: vec![(0, 3), (4000, 2)] };
        let map = pax(&[("GNU.sparse.size", "5000"), ("GNU.sparse.map", "0,3,4000,2"), ("GNU.sparse.name", "s")]);
        let v01 = blocks(&[(header(b'x', "x", map.len() as u64), &map), (header(b'0', "f", 5), b"abcde")]);
        let repeated = pax(&[
            ("GNU.sparse.size", "5000"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "3"),
            ("GNU.sparse.offset", "4000"),
            ("GNU.sparse.numbytes", "2"),
        ]);
        let v00 = blocks(&[(header(b'x', "x", repeated.len() as u64), &repeated), (header(b'0', "f", 5), b"abcde")]);
        let marks = pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "5000")]);
        let mut data = b"2\n0\n3\n4000\n2\n".to_vec();
        data.resize(BLOCK, 0);
        data.extend(b"abcde");
        let v10 =
            blocks(&[(header(b'x', "x", marks.len() as u64), &marks), (header(b'0', "f", data.len() as u64), &data)]);
        let mut old = header(b'S', "f", 5);
        {
            let gnu = old.as_gnu_mut().unwrap();
            gnu.set_real_size(5000);
            for (at, (offset, length)) in [(0, 3), (4000, 2)].into_iter().enumerate() {
                gnu.sparse[at].set_offset(offset);
                gnu.sparse[at].set_length(length);
            }
        }
        old.set_cksum();
        let gnu = blocks(&[(old, b"abcde")]);
        for (name, bytes) in [("0.0", v00), ("0.1", v01), ("1.0", v10), ("gnu", gnu)] {
            let mut reader = ArchiveReader::new(&bytes[..]);
            assert_eq!(reader.next_entry().unwrap().unwrap().kind, expected, "{name}");
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            assert_eq!(data, b"abcde", "{name}");
            assert_eq!(reader.next_entry().unwrap(), None, "{name}");
        }
    }

    #[test]
    fn what_is_damaged_is_refused_with_its_place_and_takes_no_memory() {
        let mut wrong_sum = blocks(&[(header(b'0', "f", 0), b"")]);
        wrong_sum[0] ^= 1;
        let cut = &blocks(&[(header(b'0', "f", 2000), &[1; 2000])])[..1000];
        let huge = blocks(&[(header(b'L', "f", 1 << 40), b"")]);
        let map = pax(&[("GNU.sparse.size", "10"), ("GNU.sparse.map", "5,3,0,2")]);
        let overlapping = blocks(&[(header(b'x', "x", map.len() as u64), &map), (header(b'0', "f", 5), b"abcde")]);
        let endless = pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "10")]);
        let numbers = b"99999999999999999999\n".repeat(30);
        let endless = blocks(&[
            (header(b'x', "x", endless.len() as u64), &endless),
            (header(b'0', "f", numbers.len() as u64), &numbers),
        ]);
        let record = b"99 path=x\n";
        let short = blocks(&[(header(b'x', "x", record.len() as u64), record)]);
        for (name, bytes) in [
            ("sum", &wrong_sum[..]),
            ("cut", cut),
            ("huge", &huge),
            ("overlapping", &overlapping),
            ("endless", &endless),
            ("short", &short),
        ] {
            let mut reader = ArchiveReader::new(bytes);
            let result = reader.next_entry().and_then(|_| reader.next_entry());
            assert!(matches!(result, Err(ArchiveError::Damaged { .. })), "{name}: {result:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in proptest::collection::vec(0_u8.., 0..2048), kind in 0_u8..) {
            // A right sum lets the fields be read.
            if bytes.len() >= BLOCK {
                let header: &mut [u8; BLOCK] = (&mut bytes[..BLOCK]).try_into().unwrap();
                let mut copy = tar::Header::new_old();
                copy.as_mut_bytes().copy_from_slice(header);
                copy.set_entry_type(tar::EntryType::new(kind));
                copy.set_cksum();
                header.copy_from_slice(copy.as_bytes());
            }
            let mut reader = ArchiveReader::new(&bytes[..]);
            while let Ok(Some(_)) = reader.next_entry() {}
        }
    }
}
