//! Single keys of the user, while the output of containers is shown.
//!
//! The terminal gives each key at once and echoes nothing, but still makes signals of Ctrl-C and Ctrl-Z.

use std::io::Read;
use std::os::fd::AsFd;

use tokio::sync::mpsc;

use crate::cli::failure::Failure;
use crate::runtime::sys::terminal::KeyByKey;

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Leave, and let everything run.
    Detach,
    /// Begin or end watching.
    Watch,
    /// A blank line.
    Enter,
}

/// The keys, until this is dropped.
pub struct Keys {
    pressed: mpsc::Receiver<Key>,
    /// The terminal is as it was when this is dropped.
    _mode: KeyByKey,
}

impl Keys {
    /// From now on.
    pub fn new() -> Result<Keys, Failure> {
        let read = || Failure::system("read the keyboard");
        let mode = KeyByKey::new(std::io::stdin().as_fd()).map_err(|errno| read()(errno.into()))?;
        let (sender, pressed) = mpsc::channel(8);
        std::thread::spawn(move || {
            let mut byte = [0];
            while std::io::stdin().lock().read_exact(&mut byte).is_ok() {
                let key = match byte[0] {
                    b'd' | b'D' => Key::Detach,
                    b'w' | b'W' => Key::Watch,
                    b'\r' | b'\n' => Key::Enter,
                    _ => continue,
                };
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        });
        Ok(Keys { pressed, _mode: mode })
    }

    /// The next one.
    pub async fn next(&mut self) -> Option<Key> {
        self.pressed.recv().await
    }
}
