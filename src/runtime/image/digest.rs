//! Digests: what names a blob, and readers and writers that find it in passing.

use std::fmt;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest; prints as `sha256:HEX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The text is no digest that we can verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest {0:?}: a digest is sha256: and 64 hexadecimal digits")]
pub struct InvalidDigest(String);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::finish(Sha256::new_with_prefix(bytes))
    }

    /// The 64 hexadecimal digits, safe as a file name.
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// The 12 digits that people see.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    fn finish(hash: Sha256) -> Digest {
        Digest(hex(&hash.finalize()))
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Digest, InvalidDigest> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) => {
                Ok(Digest(hex.to_owned()))
            }
            _ => Err(InvalidDigest(text)),
        }
    }
}

impl TryFrom<&str> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: &str) -> Result<Digest, InvalidDigest> {
        Digest::try_from(text.to_owned())
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sha256:{}", self.0)
    }
}

/// Passes bytes through and digests them.
pub struct Digester<T> {
    inner: T,
    hash: Sha256,
    count: u64,
}

impl<T> Digester<T> {
    /// Around a reader or writer.
    pub fn new(inner: T) -> Digester<T> {
        Digester { inner, hash: Sha256::new(), count: 0 }
    }

    /// What was digested, how many bytes that were, and the reader or writer.
    pub fn finish(self) -> (Digest, u64, T) {
        (Digest::finish(self.hash), self.count, self.inner)
    }
}

impl<T: Read> Read for Digester<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

impl<T: Write> Write for Digester<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_lower_case_hexadecimal_of_full_length() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Digest::try_from(digest.to_string()), Ok(digest));
        for wrong in ["", "sha256:", "sha256:../../etc", &format!("sha256:{}", "A".repeat(64)), &"a".repeat(64)] {
            assert!(Digest::try_from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_digested_in_passing() {
        let mut writer = Digester::new(Vec::new());
        writer.write_all(b"hello").unwrap();
        let (digest, count, bytes) = writer.finish();
        assert_eq!((digest, count, bytes), (Digest::of(b"hello"), 5, b"hello".to_vec()));
    }
}
