//! The last line of the screen, which says what keys do while output runs above it.

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Back to the beginning of the line, and the line away.
const ERASE: &[u8] = b"\r\x1b[K";

/// The line, if there is one. All that is written to the terminal goes around it.
#[derive(Debug, Clone, Default)]
pub struct Menu(Arc<Mutex<Option<String>>>);

impl Menu {
    /// Shows another line, or none; what has to be written for that.
    pub fn set(&self, line: Option<String>) -> Vec<u8> {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_none() && line.is_none() {
            return Vec::new();
        }
        let bytes = [ERASE, line.as_deref().unwrap_or_default().as_bytes()].concat();
        *shown = line;
        bytes
    }

    /// Whole lines with the last line below them.
    pub fn around<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(line) if !bytes.is_empty() => {
                // Below a line that is not complete there is no place.
                let below = if bytes.ends_with(b"\n") { line.as_bytes() } else { b"" };
                Cow::Owned([ERASE, bytes, below].concat())
            }
            _ => Cow::Borrowed(bytes),
        }
    }
}

/// Writes around the last line.
#[derive(Debug)]
pub struct Above<W>(pub Menu, pub W);

impl<W: Write> Write for Above<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.write_all(&self.0.around(bytes))?;
        self.1.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.1.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_goes_above_the_last_line_and_nothing_is_added_without_one() {
        let menu = Menu::default();
        assert_eq!(&*menu.around(b"a\n"), b"a\n");
        assert_eq!(menu.set(None), b"");
        assert_eq!(menu.set(Some("w Watch".into())), b"\r\x1b[Kw Watch");
        assert_eq!(&*menu.around(b"a\n"), b"\r\x1b[Ka\nw Watch");
        assert_eq!(&*menu.around(b"ask: "), b"\r\x1b[Kask: ");
        assert_eq!(menu.set(None), b"\r\x1b[K");
        assert_eq!(&*menu.around(b"a\n"), b"a\n");
    }
}
