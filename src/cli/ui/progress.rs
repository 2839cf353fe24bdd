//! What is being done: a line an event (`plain`), a table that redraws itself (`tty`), an object an event (`json`), or
//! nothing (`quiet`). Always on standard error (Compose CLI reference, §7).

use std::io::Write;
use std::time::Instant;

use crate::cli::ui::style;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A table that redraws itself.
    Tty,
    /// A line an event.
    Plain,
    /// An object an event.
    Json,
    /// Only errors.
    Quiet,
}

/// How far a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Under way.
    Working,
    /// Finished well.
    Done,
    /// Finished, with a doubt.
    Warning,
    /// Failed.
    Error,
}

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Of what: `Container p-web-1`.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// In a word: `Started`.
    pub text: String,
    /// More, if there is more.
    pub details: String,
}

/// Size of the screen; both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Lines.
    pub rows: usize,
    /// Characters a line.
    pub columns: usize,
}

/// Shows the progress of one operation. What is drawn is bytes for the caller to write, so that it can be tested.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
    operation: &'static str,
    dry_run: bool,
    colour: bool,
    rows: Vec<Row>,
    /// Lines of the table on the screen, which the next drawing overwrites.
    drawn: usize,
    frame: usize,
}

#[derive(Debug)]
struct Row {
    news: News,
    began: Instant,
    ended: Option<Instant>,
}

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

impl Progress {
    /// Of an operation (`up`, `down`, …).
    pub fn new(mode: Mode, operation: &'static str, dry_run: bool, colour: bool) -> Progress {
        Progress { mode, operation, dry_run, colour, rows: Vec::new(), drawn: 0, frame: 0 }
    }

    /// Takes news; returns what is to be written at once.
    pub fn news(&mut self, news: News) -> Vec<u8> {
        let now = Instant::now();
        let written = match self.mode {
            Mode::Plain => self.plain(&news).into_bytes(),
            Mode::Json => self.json(&news).into_bytes(),
            Mode::Tty | Mode::Quiet => Vec::new(),
        };
        if self.mode == Mode::Tty {
            let ended = (news.phase != Phase::Working).then_some(now);
            match self.rows.iter_mut().find(|row| row.news.id == news.id) {
                Some(row) => {
                    if row.ended.is_some() && ended.is_none() {
                        row.began = now;
                    }
                    row.ended = ended;
                    row.news = news;
                }
                None => self.rows.push(Row { news, began: now, ended }),
            }
        }
        written
    }

    /// The table as it stands, drawn over the last one. Never taller than the screen.
    pub fn draw(&mut self, screen: Screen) -> Vec<u8> {
        self.frame += 1;
        self.table(screen, screen.rows.saturating_sub(1).max(1))
    }

    /// The whole table for the last time; what comes after is written below it.
    pub fn finish(&mut self, screen: Screen) -> Vec<u8> {
        let bytes = if self.rows.is_empty() { Vec::new() } else { self.table(screen, usize::MAX) };
        self.rows.clear();
        self.drawn = 0;
        bytes
    }

    /// Takes the table off the screen, so that something else can be written there.
    pub fn hide(&mut self) -> Vec<u8> {
        let bytes = if self.drawn > 0 { format!("\x1b[{}A\r\x1b[J", self.drawn) } else { String::new() };
        self.drawn = 0;
        bytes.into_bytes()
    }

    fn plain(&self, news: &News) -> String {
        let prefix = if self.dry_run { " DRY-RUN MODE - " } else { "" };
        let details = if news.details.is_empty() { String::new() } else { format!(" {}", news.details) };
        format!("{prefix} {} {}{details}\n", news.id, news.text)
    }

    fn json(&self, news: &News) -> String {
        let mut object = serde_json::Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                object.insert(key.to_owned(), value.into());
            }
        };
        put("id", &news.id);
        put(
            "status",
            match news.phase {
                Phase::Working => "Working",
                Phase::Done => "Done",
                Phase::Warning => "Warning",
                Phase::Error => "Error",
            },
        );
        put("text", &news.text);
        put("details", &news.details);
        if self.dry_run {
            object.insert("dry-run".to_owned(), true.into());
        }
        serde_json::Value::Object(object).to_string() + "\n"
    }

    fn table(&mut self, screen: Screen, room: usize) -> Vec<u8> {
        if self.mode != Mode::Tty || self.rows.is_empty() {
            return Vec::new();
        }
        let done = self.rows.iter().filter(|row| row.news.phase != Phase::Working).count();
        let head = if self.dry_run { "[+] DRY-RUN " } else { "[+] " };
        let mut lines = vec![cut(&format!("{head}{} {done}/{}", self.operation, self.rows.len()), screen.columns)];
        let all = self.rows.len() < room;
        if all {
            lines.extend(self.rows.iter().map(|row| self.line(row, screen)));
        } else {
            // What is under way and what failed is worth more than what is done; the rest is a number.
            let space = room.saturating_sub(2);
            let weight = |row: &&Row| match row.news.phase {
                Phase::Error => 0,
                Phase::Working => 1,
                Phase::Warning => 2,
                Phase::Done => 3,
            };
            let mut kept: Vec<&Row> = self.rows.iter().collect();
            kept.sort_by_key(weight);
            lines.extend(kept.iter().take(space).map(|row| self.line(row, screen)));
            if room >= 2 {
                lines.push(cut(
                    &format!("   … and {} more", self.rows.len() - space.min(self.rows.len())),
                    screen.columns,
                ));
            }
        }
        let mut bytes = Vec::new();
        if self.drawn > 0 {
            bytes.extend_from_slice(format!("\x1b[{}A", self.drawn).as_bytes());
        }
        for line in &lines {
            bytes.extend_from_slice(format!("\r\x1b[2K{line}\n").as_bytes());
        }
        if lines.len() < self.drawn {
            bytes.extend_from_slice(b"\x1b[J");
        }
        self.drawn = lines.len();
        bytes
    }

    /// ` ✔ Container p-web-1 Started                    0.3s`, exactly as wide as the screen allows.
    fn line(&self, row: &Row, screen: Screen) -> String {
        let (mark, colour) = match row.news.phase {
            Phase::Working => (SPINNER[self.frame % SPINNER.len()], style::BLUE),
            Phase::Done => ("✔", style::GREEN),
            Phase::Warning => ("!", style::YELLOW),
            Phase::Error => ("✘", style::RED),
        };
        let longest = self.rows.iter().map(|row| row.news.id.chars().count()).max().unwrap_or(0);
        let elapsed = row.ended.unwrap_or_else(Instant::now).duration_since(row.began);
        let timer = format!("{:.1}s", elapsed.as_secs_f64());
        let text = format!("{:<longest$} {} {}", row.news.id, row.news.text, row.news.details);
        // The mark and the blanks around it take three columns, the blank before the timer one.
        let room = screen.columns.saturating_sub(3 + 1 + timer.chars().count() + 1);
        let text = cut(text.trim_end(), room);
        if self.colour {
            let (mark, timer) = (style::coloured(mark, colour), style::coloured(&timer, style::BLUE));
            format!(" {mark} {text:<room$} {timer}")
        } else {
            format!(" {mark} {text:<room$} {timer}")
        }
    }
}

/// Cut to so many characters, the last being `…` where something is missing; control characters become blanks.
fn cut(text: &str, columns: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= columns {
        return clean.collect();
    }
    clean.take(columns.saturating_sub(1)).chain(std::iter::once('…').take(columns)).collect()
}

/// Writes what a [`Progress`] drew; whoever closed standard error does not want it.
pub fn show(bytes: &[u8]) {
    if !bytes.is_empty() {
        let _ = std::io::stderr().write_all(bytes);
    }
}
