//! Compressed archives: told by their first bytes, decompressed within bounds.

use std::io::{self, BufRead, BufReader, Read};

use crate::runtime::image::archive_reader::{ArchiveError, ArchiveReader};

const BUFFER: usize = 256 * 1024;

/// KiB that an xz archive may want for being unpacked: eight times what its highest level wants.
const XZ_MEMORY: u32 = 512 << 10;

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// Of bzip2.
    Bzip2,
    /// Of xz.
    Xz,
}

impl Compression {
    /// Tells it from the first bytes.
    pub(in crate::runtime) fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', ..] => Compression::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            _ => Compression::None,
        }
    }

    /// The OCI media type of a layer so packed.
    pub(in crate::runtime) fn media_type(self) -> &'static str {
        match self {
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Compression::None => "application/vnd.oci.image.layer.v1.tar",
            // No specification names these; Docker reads a layer by its first bytes, too.
            Compression::Bzip2 => "application/vnd.oci.image.layer.v1.tar+bzip2",
            Compression::Xz => "application/vnd.oci.image.layer.v1.tar+xz",
        }
    }
}

/// How much may come out of how little.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime) struct Limit {
    /// Bytes that may come out of anything.
    pub(in crate::runtime) free: u64,
    /// Above that, bytes that may come out of one that went in.
    pub(in crate::runtime) ratio: u64,
}

impl Default for Limit {
    /// File systems of real images shrink to a half or a fifth; a file of zeros shrinks to a thousandth.
    fn default() -> Limit {
        Limit { free: 1 << 30, ratio: 200 }
    }
}

/// Decompresses whatever this is.
pub(in crate::runtime) fn decompress<'a>(
    input: impl Read + Send + 'a,
    limit: Limit,
) -> Result<(Compression, Box<dyn Read + Send + 'a>), ArchiveError> {
    let mut input = BufReader::with_capacity(BUFFER, Counted { inner: input, count: Default::default() });
    let start = input.fill_buf()?;
    let compression = Compression::of(start);
    let count = input.get_ref().count.clone();
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => return Ok((compression, Box::new(input))),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY)),
    };
    Ok((compression, Box::new(Bounded { inner: reader, consumed: count, limit, produced: 0 })))
}

/// Whether this is an archive, packed or not.
pub(in crate::runtime) fn is_archive(input: impl Read + Send) -> bool {
    match decompress(input, Limit::default()) {
        Ok((_, input)) => matches!(ArchiveReader::new(input).next_entry(), Ok(Some(_))),
        Err(_) => false,
    }
}

struct Counted<R> {
    inner: R,
    count: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(count)
    }
}

struct Bounded<R> {
    inner: R,
    consumed: std::sync::Arc<std::sync::atomic::AtomicU64>,
    limit: Limit,
    produced: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.produced += count as u64;
        let consumed = self.consumed.load(std::sync::atomic::Ordering::Relaxed);
        if self.produced > self.limit.free.max(consumed.saturating_mul(self.limit.ratio)) {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!(
                    "{consumed} bytes unpack to more than {} times as many; that is no honest archive",
                    self.limit.ratio
                ),
            ));
        }
        Ok(count)
    }
}

/// Reads ahead on a thread of its own, so that decompressing and writing go on side by side.
pub(in crate::runtime) struct ReadAhead {
    chunks: std::sync::mpsc::Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    at: usize,
}

/// Runs `work` on what `input` gives, reading ahead meanwhile.
pub(in crate::runtime) fn read_ahead<T>(mut input: impl Read + Send, work: impl FnOnce(ReadAhead) -> T) -> T {
    std::thread::scope(|scope| {
        let (sender, chunks) = std::sync::mpsc::sync_channel(8);
        scope.spawn(move || {
            loop {
                let mut chunk = Vec::with_capacity(BUFFER);
                let result = input.by_ref().take(BUFFER as u64).read_to_end(&mut chunk);
                let end = chunk.is_empty();
                // The other side may have had enough; then there is nobody to tell.
                let sent = end || sender.send(Ok(chunk)).is_ok();
                if let Err(error) = result {
                    let _ = sender.send(Err(error));
                    return;
                }
                if end || !sent {
                    return;
                }
            }
        });
        work(ReadAhead { chunks, current: Vec::new(), at: 0 })
    })
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.current, self.at) = (chunk?, 0),
                Err(std::sync::mpsc::RecvError) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_packed_is_told_by_its_first_bytes() {
        let text = b"some text".repeat(1000);
        for (packed, kind) in [
            (text.clone(), Compression::None),
            (gzip(&text), Compression::Gzip),
            ([gzip(&text[..500]), gzip(&text[500..])].concat(), Compression::Gzip),
            (zstd::encode_all(&text[..], 1).unwrap(), Compression::Zstd),
        ] {
            let (found, reader) = decompress(&packed[..], Limit::default()).unwrap();
            let read = read_ahead(reader, |mut reader| {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| bytes)
            });
            assert_eq!((found, read.unwrap()), (kind, text.clone()));
        }
    }

    #[test]
    fn bzip2_and_xz_are_read_too_and_a_damaged_one_is_an_error() {
        // Of `printf 'some text\n'`.
        let bzip2 = "QlpoOTFBWSZTWRBpYvUAAANRgAAQQAACAoxAIAAiAxqEMCJy1xgeLuSKcKEgINLF6g==";
        let xz = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAJc29tZSB0ZXh0CgAAAIBBSQ0R2v4bAAEiChUa4WcftvN9AQAAAAAEWVo=";
        for (packed, kind) in [(bzip2, Compression::Bzip2), (xz, Compression::Xz)] {
            let mut packed = data_encoding::BASE64.decode(packed.as_bytes()).unwrap();
            let read = |packed: &[u8]| {
                let (found, mut reader) = decompress(packed, Limit::default()).unwrap();
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| (found, bytes))
            };
            assert_eq!(read(&packed).unwrap(), (kind, b"some text\n".to_vec()));
            assert!(read(&packed[..packed.len() - 9]).is_err());
            packed[30] ^= 0xff;
            assert!(read(&packed).is_err());
        }
    }

    #[test]
    fn a_bomb_is_stopped_and_a_small_dense_file_is_not() {
        let zeros = vec![0; 1 << 20];
        let limit = Limit { free: 1 << 16, ratio: 20 };
        for packed in [gzip(&zeros), zstd::encode_all(&zeros[..], 1).unwrap()] {
            let (_, mut reader) = decompress(&packed[..], limit).unwrap();
            let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
            assert!(error.to_string().contains("no honest archive"), "{error}");
            let (_, mut reader) = decompress(&packed[..], Limit { free: 1 << 20, ratio: 1 }).unwrap();
            assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 1 << 20);
        }
    }

    #[test]
    fn an_error_of_the_input_arrives_after_what_was_read_before_it() {
        let packed = gzip(&b"text".repeat(100_000));
        let (_, reader) = decompress(&packed[..packed.len() / 2], Limit::default()).unwrap();
        let result = read_ahead(reader, |mut reader| io::copy(&mut reader, &mut io::sink()));
        assert!(result.is_err());
    }
}
