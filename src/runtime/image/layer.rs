//! One layer: from its archive, compressed or not, to files whose digest is known.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;

use crate::runtime::image::archive_reader::ArchiveError;
use crate::runtime::image::compression::{self, Compression, Limit, read_ahead};
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::tree::empty_folder;
use crate::runtime::image::unpack::{Owner, UnpackError, Whiteouts, unpack};

/// Why an archive does not become a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It is no archive, or a bad one.
    #[error("it cannot be unpacked")]
    Unpack(#[from] UnpackError),
    /// Its content is not what its name says.
    #[error("it does not have the digest it should have: it is {0}")]
    Digest(Digest),
    /// A file can't be written or read.
    #[error("it cannot be laid down")]
    Io(#[from] io::Error),
}

impl LayerError {
    /// Whether the disk is full.
    pub(super) fn is_full(&self) -> bool {
        match self {
            LayerError::Unpack(UnpackError::Failed { errno, .. }) => matches!(errno, Errno::ENOSPC | Errno::EDQUOT),
            LayerError::Io(error) => is_full(error),
            LayerError::Unpack(_) | LayerError::Digest(_) => false,
        }
    }
}

/// Whether an error says that the disk is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What lies in the folder now.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// The folder.
    pub(super) root: OwnedFd,
    /// Bytes of its files.
    pub(super) size: u64,
    /// Bytes of the archive, uncompressed.
    pub(super) length: u64,
    /// How the archive came.
    pub(super) compression: Compression,
}

/// Unpacks an archive into a new folder. Its uncompressed bytes must have this digest.
pub(super) fn unpack_layer(input: impl Read + Send, files: &Path, diff_id: &Digest) -> Result<Unpacked, LayerError> {
    let root = empty_folder(files)?;
    let (compression, input) = compression::decompress(input, Limit::default()).map_err(UnpackError::from)?;
    let (size, found, length) = read_ahead(input, |input| {
        let mut input = Digester::new(input);
        let size = unpack(&mut input, &root, Path::new(""), Whiteouts::Layer, Owner::Archive)?;
        // Bytes behind the archive's end belong to its digest.
        io::copy(&mut input, &mut io::sink()).map_err(ArchiveError::from)?;
        let (found, length, _) = input.finish();
        Ok::<_, UnpackError>((size, found, length))
    })?;
    if found == *diff_id { Ok(Unpacked { root, size, length, compression }) } else { Err(LayerError::Digest(found)) }
}
