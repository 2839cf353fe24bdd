//! Output of containers with prefixes: `web-1  | text` (Compose CLI reference, §12).
//!
//! Lines are gathered in one buffer a stream and written when the reader has caught up, so that half a million lines cost a
//! few hundred writes. The prefix of a container is made once and again when the column grows.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use crate::cli::ui::{style, time};
use crate::engine::{ContainerId, LogChunk, Stream};

/// How lines look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Form {
    /// Name the container before each line.
    pub prefix: bool,
    /// In a colour of its own.
    pub colour: bool,
    /// Tell when each line was written.
    pub timestamps: bool,
    /// What containers write on standard error goes to ours; else all goes to standard output.
    pub split: bool,
}

impl Form {
    /// When a line was written, where that is told.
    fn stamp(&self, time: i64) -> String {
        if self.timestamps { time::precise(time) + " " } else { String::new() }
    }
}

/// Writes when this much has been gathered even if more is waiting.
const FULL: usize = 1 << 18;

/// Prints the output of containers.
#[derive(Debug)]
pub struct LogPrinter<O: Write, E: Write> {
    form: Form,
    stdout: O,
    stderr: E,
    gathered: [Vec<u8>; 2],
    sources: HashMap<ContainerId, Source>,
    colours: BTreeMap<String, &'static str>,
    width: usize,
}

#[derive(Debug)]
struct Source {
    name: String,
    prefix: Vec<u8>,
    /// An unfinished line of each stream, and when it began.
    partial: [(Vec<u8>, i64); 2],
}

impl<O: Write, E: Write> LogPrinter<O, E> {
    /// Writes to these two.
    pub fn new(form: Form, stdout: O, stderr: E) -> LogPrinter<O, E> {
        LogPrinter {
            form,
            stdout,
            stderr,
            gathered: [Vec::new(), Vec::new()],
            sources: HashMap::new(),
            colours: BTreeMap::new(),
            width: 0,
        }
    }

    /// From now on lines of this container may come; the column grows if its name is longer than the others. A name keeps
    /// its colour, also when the container behind it is another.
    pub fn register(&mut self, id: &ContainerId, name: &str) {
        let next = style::PREFIXES[self.colours.len() % style::PREFIXES.len()];
        self.colours.entry(name.to_owned()).or_insert(next);
        let source = Source { name: name.to_owned(), prefix: Vec::new(), partial: Default::default() };
        self.sources.entry(id.clone()).or_insert(source);
        self.width = self.width.max(name.chars().count() + 1);
        for source in self.sources.values_mut() {
            source.prefix = prefix(&self.form, &source.name, self.width, self.colours.get(&source.name));
        }
    }

    /// Takes a piece of output. Incomplete lines wait for their rest.
    pub fn chunk(&mut self, chunk: &LogChunk) -> std::io::Result<()> {
        let Some(source) = self.sources.get_mut(&chunk.container) else { return Ok(()) };
        let from = usize::from(chunk.stream == Stream::Stderr);
        let out = &mut self.gathered[if self.form.split { from } else { 0 }];
        let (partial, began) = &mut source.partial[from];
        if partial.is_empty() {
            *began = chunk.time;
        }
        let stamp = self.form.stamp(chunk.time);
        let bare = source.prefix.is_empty() && stamp.is_empty();
        let whole = chunk.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let (lines, rest) = chunk.bytes.split_at(whole);
        if bare && partial.is_empty() {
            out.extend_from_slice(lines);
        } else {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                out.extend_from_slice(&source.prefix);
                out.extend_from_slice(stamp.as_bytes());
                out.append(partial);
                out.extend_from_slice(line);
            }
        }
        partial.extend_from_slice(rest);
        if self.gathered.iter().any(|gathered| gathered.len() >= FULL) { self.flush() } else { Ok(()) }
    }

    /// The container writes no more for now: its unfinished lines are printed as they are.
    pub fn end(&mut self, id: &ContainerId) {
        let Some(source) = self.sources.get_mut(id) else { return };
        for (from, (partial, began)) in source.partial.iter_mut().enumerate() {
            if partial.is_empty() {
                continue;
            }
            let out = &mut self.gathered[if self.form.split { from } else { 0 }];
            out.extend_from_slice(&source.prefix);
            out.extend_from_slice(self.form.stamp(*began).as_bytes());
            out.append(partial);
            out.push(b'\n');
        }
    }

    /// A line about a container: `web-1 exited with code 0`.
    pub fn status(&mut self, id: &ContainerId, text: &str) {
        self.end(id);
        let Some(source) = self.sources.get(id) else { return };
        let line = format!("{} {text}", source.name);
        let line = match self.colours.get(&source.name) {
            Some(colour) if self.form.colour => format!("\x1b[K{}", style::coloured(&line, colour)),
            _ => line,
        };
        self.gathered[0].extend_from_slice(line.as_bytes());
        self.gathered[0].push(b'\n');
    }

    /// A line of our own.
    pub fn line(&mut self, text: &str) {
        self.gathered[0].extend_from_slice(text.as_bytes());
        self.gathered[0].push(b'\n');
    }

    /// Writes what has been gathered.
    pub fn flush(&mut self) -> std::io::Result<()> {
        let [out, err] = &mut self.gathered;
        if !out.is_empty() {
            self.stdout.write_all(out)?;
            self.stdout.flush()?;
            out.clear();
        }
        if !err.is_empty() {
            self.stderr.write_all(err)?;
            err.clear();
        }
        Ok(())
    }
}

fn prefix(form: &Form, name: &str, width: usize, colour: Option<&&'static str>) -> Vec<u8> {
    if !form.prefix {
        return Vec::new();
    }
    let text = format!("{name:<width$} | ");
    match colour {
        Some(colour) if form.colour => style::coloured(&text, colour).into_bytes(),
        _ => text.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ContainerId {
        ContainerId(name.to_owned())
    }

    fn chunk(container: &str, stream: Stream, bytes: &str) -> LogChunk {
        LogChunk { container: id(container), stream, time: 1_700_000_000_000_000_000, bytes: bytes.into() }
    }

    fn printed(form: Form, tell: impl FnOnce(&mut LogPrinter<&mut Vec<u8>, &mut Vec<u8>>)) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = LogPrinter::new(form, &mut out, &mut err);
        tell(&mut printer);
        printer.flush().unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_column_is_as_wide_as_the_longest_name_known_so_far() {
        let (out, _) = printed(Form { prefix: true, ..Form::default() }, |printer| {
            printer.register(&id("a"), "web-1");
            printer.chunk(&chunk("a", Stream::Stdout, "one\ntwo\n")).unwrap();
            printer.register(&id("b"), "database-1");
            printer.chunk(&chunk("a", Stream::Stdout, "three\n")).unwrap();
            printer.chunk(&chunk("b", Stream::Stderr, "four\n")).unwrap();
        });
        insta::assert_snapshot!(out, @r"
        web-1  | one
        web-1  | two
        web-1       | three
        database-1  | four
        ");
    }

    #[test]
    fn standard_error_goes_to_standard_error_when_the_streams_are_split() {
        let (out, err) = printed(Form { prefix: true, split: true, ..Form::default() }, |printer| {
            printer.register(&id("a"), "a-1");
            printer.chunk(&chunk("a", Stream::Stdout, "data\n")).unwrap();
            printer.chunk(&chunk("a", Stream::Stderr, "trouble\n")).unwrap();
        });
        assert_eq!((out.as_str(), err.as_str()), ("a-1  | data\n", "a-1  | trouble\n"));
    }

    #[test]
    fn an_unfinished_line_waits_for_its_rest_or_the_end() {
        let (out, _) = printed(Form { prefix: true, ..Form::default() }, |printer| {
            printer.register(&id("a"), "a-1");
            printer.register(&id("b"), "b-1");
            printer.chunk(&chunk("a", Stream::Stdout, "hel")).unwrap();
            printer.chunk(&chunk("b", Stream::Stdout, "between\n")).unwrap();
            printer.chunk(&chunk("a", Stream::Stdout, "lo\nbye")).unwrap();
            printer.status(&id("a"), "exited with code 0");
        });
        insta::assert_snapshot!(out, @r"
        b-1  | between
        a-1  | hello
        a-1  | bye
        a-1 exited with code 0
        ");
    }

    #[test]
    fn a_name_keeps_its_colour_when_its_container_is_made_anew() {
        let (out, _) = printed(Form { prefix: true, colour: true, ..Form::default() }, |printer| {
            printer.register(&id("a"), "a-1");
            printer.register(&id("b"), "b-1");
            printer.register(&id("c"), "a-1");
            printer.chunk(&chunk("c", Stream::Stdout, "x\n")).unwrap();
            printer.chunk(&chunk("b", Stream::Stdout, "y\n")).unwrap();
        });
        assert_eq!(out, "\x1b[36ma-1  | \x1b[0mx\n\x1b[33mb-1  | \x1b[0my\n");
    }

    #[test]
    fn without_prefix_the_bytes_pass_as_they_are_and_with_timestamps_each_line_has_one() {
        let (out, _) = printed(Form::default(), |printer| {
            printer.register(&id("a"), "a-1");
            printer.chunk(&chunk("a", Stream::Stdout, "one\n\ntwo\n")).unwrap();
        });
        assert_eq!(out, "one\n\ntwo\n");
        let (out, _) = printed(Form { prefix: true, timestamps: true, ..Form::default() }, |printer| {
            printer.register(&id("a"), "a-1");
            printer.chunk(&chunk("a", Stream::Stdout, "one\ntw")).unwrap();
            printer.end(&id("a"));
        });
        let stamp = "a-1  | 2023-11-14T22:13:20.000000000Z";
        assert_eq!(out, format!("{stamp} one\n{stamp} tw\n"));
    }
}
