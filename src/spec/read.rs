//! Files to text: what is no file, too large, or no text is refused in a sentence.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Note, SourceFile};

/// Larger than any compose file; a hundredfold of the largest known.
const LIMIT: u64 = 32 << 20;

/// The text of the file at `path`, which the user calls `shown`. `-` is standard input. `because`: what led to it.
pub(in crate::spec) fn file(path: &Path, shown: &str, because: Option<&Note>) -> Result<Arc<SourceFile>, Diagnostic> {
    text(path, shown).map(|text| SourceFile::read_because(shown, text, because.cloned())).map_err(|mut fault| {
        fault.notes.extend(because.cloned());
        fault
    })
}

fn text(path: &Path, shown: &str) -> Result<String, Diagnostic> {
    let bytes = if path == Path::new("-") {
        bounded(std::io::stdin().lock())
    } else {
        std::fs::File::open(path).and_then(bounded)
    };
    let bytes = bytes.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Diagnostic::error_nowhere(format!("{shown}: larger than {} MiB", LIMIT >> 20)));
    }
    decode(bytes).map_err(|why| Diagnostic::error_nowhere(format!("{shown}: {why}")))
}

/// Why a file can't be read, in the words that Docker Compose users know.
pub(in crate::spec) fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let shown = path.display();
    Diagnostic::error_nowhere(match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {shown}: no such file or directory"),
        std::io::ErrorKind::IsADirectory => format!("read {shown}: is a directory"),
        std::io::ErrorKind::PermissionDenied => format!("open {shown}: permission denied"),
        _ => format!("open {shown}: {error}"),
    })
}

fn bounded(input: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LIMIT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// UTF-8, or UTF-16 where a byte order mark says so.
fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let wide = |order: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| order([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| "not valid UTF-16".to_owned())
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => return wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => return wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => return decode(rest.to_vec()),
        _ => {}
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line}: not valid UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_a_missing_file_and_an_endless_one_are_named() {
        let told = |path: &str| file(Path::new(path), path, None).unwrap_err().message;
        assert_eq!(told("/"), "read /: is a directory");
        assert_eq!(told("/no/such"), "open /no/such: no such file or directory");
        assert_eq!(told("/dev/zero"), "/dev/zero: larger than 32 MiB");
    }

    #[test]
    fn byte_order_marks_are_taken_off() {
        assert_eq!(decode(b"\xef\xbb\xbfa".to_vec()).unwrap(), "a");
        assert_eq!(decode(b"\xff\xfea\0".to_vec()).unwrap(), "a");
        assert_eq!(decode(b"\xfe\xff\0a".to_vec()).unwrap(), "a");
        assert_eq!(decode(b"a\n\xff".to_vec()).unwrap_err(), "line 2: not valid UTF-8");
    }
}
