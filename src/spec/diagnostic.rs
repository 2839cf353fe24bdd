//! What is wrong (or doubtful) in a compose file, and where: `file:line:column`, the source line, a caret, a help line.
//!
//! A stage of the loader gathers all its faults and hands them on together as one [`SpecError`]; the next stage does not
//! run. A warning's `message` is worded as Docker Compose words it; its position is printed on lines of its own, so that
//! who filters on the wording still finds it.

use std::fmt;
use std::sync::Arc;

/// A text that positions point into: a file, or standard input.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: String,
    /// What led to this file, if another one did: an `include`, an `extends`.
    because: Option<Note>,
    /// Where each line begins, so that showing the line of one of many diagnostics does not read the whole text again.
    starts: Vec<usize>,
}

impl SourceFile {
    /// `name` is what the user would write: relative where it was given so; `-` for standard input.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Self::read_because(name, text, None)
    }

    /// A file that another one led to, which every diagnostic in it says.
    pub fn read_because(name: impl Into<String>, text: impl Into<String>, because: Option<Note>) -> Arc<Self> {
        let text = text.into();
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Self { name: name.into(), text, because, starts })
    }

    /// What the user calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place of the bytes from `from` to `to`.
    pub fn place(self: &Arc<Self>, from: usize, to: usize) -> Location {
        let line = self.starts.partition_point(|start| *start <= from).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let characters = |from: usize, to: usize| self.text.get(from..to).map_or(0, |text| text.chars().count());
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let column = short(characters(start, from) + 1);
        Location { file: Arc::clone(self), line: short(line), column, width: short(characters(from, to)) }
    }

    /// The text of line `number` (from 1), without its end.
    pub fn line(&self, number: u32) -> Option<&str> {
        let start = *self.starts.get((number as usize).checked_sub(1)?)?;
        self.text.get(start..)?.lines().next()
    }
}

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// The file it lies in.
    pub file: Arc<SourceFile>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// How many characters to underline; at least one caret is drawn.
    pub width: u32,
}

impl Location {
    /// What led to the file, outwards: the `include` or `extends` that names it, then the one that names that file.
    pub fn reasons(&self) -> impl Iterator<Item = &Note> {
        std::iter::successors(self.file.because.as_ref(), |note| note.at.as_ref()?.file.because.as_ref())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.file.name, self.line, self.column)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// Whether a diagnostic stops the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// No project comes of it.
    Error,
    /// The project is loaded; the user should know.
    Warning,
}

/// More about a diagnostic: `included from here`, `this value won`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is to be seen there.
    pub message: String,
    /// Where, if it is anywhere.
    pub at: Option<Location>,
}

/// One fault or doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Fault or doubt.
    pub severity: Severity,
    /// What is wrong, naming the thing.
    pub message: String,
    /// Where; some faults (a missing file, a variable of the environment) are in no file.
    pub at: Option<Location>,
    /// What to do about it: ``did you mean `image`?``.
    pub help: Option<String>,
    /// Other places that matter.
    pub notes: Vec<Note>,
}

impl Diagnostic {
    /// A fault at a place.
    pub fn error(at: &Location, message: impl Into<String>) -> Self {
        Self { at: Some(at.clone()), ..Self::error_nowhere(message) }
    }

    /// A fault that lies in no file's text.
    pub fn error_nowhere(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), at: None, help: None, notes: Vec::new() }
    }

    /// A doubt at a place.
    pub fn warning(at: &Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    /// A doubt that lies in no file's text.
    pub fn warning_nowhere(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error_nowhere(message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds ``did you mean `x`?`` when one of `known` is near enough to `word`.
    #[must_use]
    pub fn did_you_mean<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    fn because(&self) -> Option<&Note> {
        self.at.as_ref()?.file.because.as_ref()
    }

    /// Adds another place that matters.
    #[must_use]
    pub fn note(mut self, at: Option<&Location>, message: impl Into<String>) -> Self {
        self.notes.push(Note { message: message.into(), at: at.cloned() });
        self
    }
}

/// `compose.yaml:3:5: error: …`, the line with a caret, help, notes; a warning begins with `WARN …` and has its position below.
impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.severity, &self.at) {
            (Severity::Error, Some(at)) => write!(out, "{at}: error: {}", self.message)?,
            (Severity::Error, None) => write!(out, "error: {}", self.message)?,
            (Severity::Warning, Some(at)) => write!(out, "WARN {}\n  --> {at}", self.message)?,
            (Severity::Warning, None) => write!(out, "WARN {}", self.message)?,
        }
        if let Some(at) = &self.at {
            excerpt(at, out)?;
        }
        if let Some(help) = &self.help {
            write!(out, "\n  = help: {help}")?;
        }
        let led = std::iter::successors(self.because(), |note| note.at.as_ref()?.file.because.as_ref());
        for note in self.notes.iter().chain(led) {
            match &note.at {
                Some(at) => {
                    write!(out, "\n  = note: {} ({at})", note.message)?;
                    excerpt(at, out)?;
                }
                None => write!(out, "\n  = note: {}", note.message)?,
            }
        }
        Ok(())
    }
}

/// Longer source lines are cut around the caret, so that a one-line 1 MB file does not fill the terminal.
const SHOWN: usize = 120;

fn excerpt(at: &Location, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(line) = at.file.line(at.line) else { return Ok(()) };
    let caret = (at.column as usize).saturating_sub(1);
    let from = if caret >= SHOWN { caret - SHOWN / 2 } else { 0 };
    // A tab or a control character would move the caret, or the terminal.
    let shown: String = line.chars().skip(from).take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let room = shown.chars().count().saturating_sub(caret - from).max(1);
    let number = at.line.to_string();
    let blank = " ".repeat(number.len());
    let (before, carets) = (" ".repeat(caret - from), "^".repeat((at.width as usize).clamp(1, room)));
    write!(out, "\n {number} | {}\n {blank} | {before}{carets}", shown.trim_end())
}

/// Why there is no project: all the faults of the first stage that had any. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SpecError(pub Vec<Diagnostic>);

impl fmt::Display for SpecError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.0.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(out, "{end}{diagnostic}")?;
        }
        Ok(())
    }
}

impl From<Diagnostic> for SpecError {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

/// The known word that differs from `word` in the fewest letters, if few enough that a slip explains it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_lowercase();
    let near = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase(), near), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop, change, or swap with their neighbour; `limit + 1` when surely more than `limit`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut older = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        older = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, line: u32, column: u32, width: u32) -> Location {
        Location { file: SourceFile::new("compose.yaml", text), line, column, width }
    }

    #[test]
    fn an_error_shows_its_line_a_caret_and_a_help() {
        let place = at("services:\n  web:\n    imge: nginx\n", 3, 5, 4);
        let shown =
            Diagnostic::error(&place, "services.web: unknown key `imge`").did_you_mean("imge", ["build", "image"]);
        insta::assert_snapshot!(shown, @r"
        compose.yaml:3:5: error: services.web: unknown key `imge`
         3 |     imge: nginx
           |     ^^^^
          = help: did you mean `image`?
        ");
    }

    #[test]
    fn a_warning_keeps_its_words_on_the_first_line() {
        let shown = Diagnostic::warning(&at("a: $B", 1, 4, 2), "The \"B\" variable is not set.");
        insta::assert_snapshot!(shown, @r#"
        WARN The "B" variable is not set.
          --> compose.yaml:1:4
         1 | a: $B
           |    ^^
        "#);
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_caret() {
        let shown = Diagnostic::error(&at(&"x".repeat(100_000), 1, 50_000, 100_000), "long").to_string();
        assert!(shown.len() < 500, "{}", shown.len());
        assert!(shown.contains('^'));
    }

    #[test]
    fn a_position_past_the_end_draws_no_line() {
        assert_eq!(Diagnostic::error(&at("a", 9, 9, 1), "gone").to_string(), "compose.yaml:9:9: error: gone");
    }

    #[test]
    fn a_slip_finds_the_word_that_was_meant_and_nonsense_finds_none() {
        assert_eq!(nearest("evnironment", ["environment", "env_file"]), Some("environment"));
        assert_eq!(nearest("Image", ["image"]), Some("image"));
        assert_eq!(nearest("zzzzz", ["image", "build"]), None);
    }
}
