//! What is being done: a line an event (`plain`), a table that redraws itself (`tty`), an object an event (`json`), or
//! nothing (`quiet`). Always on standard error (Compose CLI reference, §7).

use std::io::Write;
use std::time::Instant;

use crate::cli::ui::parts::{PartLine, PartNews, Parts};
use crate::cli::ui::phase::Phase;
use crate::cli::ui::style::{self, visible};

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
    /// Shown while it is under way.
    parts: Parts,
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
                None => self.rows.push(Row { news, began: now, ended, parts: Parts::default() }),
            }
        }
        written
    }

    /// Takes news of a part; returns what is to be written at once.
    pub fn part(&mut self, part: &PartNews) -> Vec<u8> {
        if !self.rows.iter().any(|row| row.news.id == part.parent) {
            let news =
                News { id: part.parent.clone(), phase: Phase::Working, text: String::new(), details: String::new() };
            self.rows.push(Row { news, began: Instant::now(), ended: None, parts: Parts::default() });
        }
        let row = self.rows.iter_mut().find(|row| row.news.id == part.parent);
        let fresh = row.is_some_and(|row| row.parts.news(part));
        match self.mode {
            Mode::Plain if fresh => visible(&format!(" {} {}\n", part.id, part.text)).into_bytes(),
            Mode::Json => part_object(part).into_bytes(),
            Mode::Plain | Mode::Tty | Mode::Quiet => Vec::new(),
        }
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

    /// The table for the last time, with what is done: the rest is told by others, below it.
    pub fn hand_over(&mut self, screen: Screen) -> Vec<u8> {
        let mut bytes = self.hide();
        self.rows.retain(|row| row.news.phase != Phase::Working);
        bytes.extend(self.finish(screen));
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
        visible(&format!("{prefix} {} {}{details}\n", news.id, news.text))
    }

    fn json(&self, news: &News) -> String {
        let mut object = serde_json::Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                object.insert(key.to_owned(), value.into());
            }
        };
        put("id", &news.id);
        put("status", news.phase.word());
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
            let mut space = room.saturating_sub(1 + self.rows.len());
            for row in &self.rows {
                lines.push(self.line(row, screen));
                if row.news.phase == Phase::Working {
                    let parts = row.parts.lines(space);
                    space -= parts.len();
                    lines.extend(parts.iter().map(|part| self.part_line(part, screen)));
                }
            }
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
        let sum = if row.news.phase == Phase::Working { row.parts.sum() } else { String::new() };
        let gap = if row.news.details.is_empty() || sum.is_empty() { "" } else { " " };
        let text = format!("{:<longest$} {} {}{gap}{sum}", row.news.id, row.news.text, row.news.details);
        // The mark and the blanks around it take three columns, the blank before the timer one.
        let room = screen.columns.saturating_sub(3 + 1 + timer.chars().count() + 1);
        let text = cut(text.trim_end(), room);
        self.timed(mark, colour, &text, room, &timer)
    }

    /// `   a3ed95caeb02 Pull complete                      0.3s`, below the line of what it is a part of.
    fn part_line(&self, part: &PartLine, screen: Screen) -> String {
        let text = format!("  {}", part.text);
        let Some(elapsed) = part.elapsed else { return cut(&format!(" {text}"), screen.columns) };
        let timer = format!("{:.1}s", elapsed.as_secs_f64());
        let room = screen.columns.saturating_sub(3 + 1 + timer.chars().count() + 1);
        // A long command gives way to numbers, which change.
        let text = cut(&text, room.saturating_sub(part.amount.chars().count()));
        self.timed(" ", style::BLUE, &cut(&format!("{text}{}", part.amount), room), room, &timer)
    }

    fn timed(&self, mark: &str, colour: &str, text: &str, room: usize, timer: &str) -> String {
        if self.colour {
            let (mark, timer) = (style::coloured(mark, colour), style::coloured(timer, style::BLUE));
            format!(" {mark} {text:<room$} {timer}")
        } else {
            format!(" {mark} {text:<room$} {timer}")
        }
    }
}

fn part_object(part: &PartNews) -> String {
    let mut object = serde_json::Map::new();
    object.insert("id".to_owned(), part.id.as_str().into());
    object.insert("parent_id".to_owned(), part.parent.as_str().into());
    object.insert("status".to_owned(), part.phase.word().into());
    object.insert("text".to_owned(), part.text.as_str().into());
    if let Some((current, total)) = part.amount {
        object.insert("current".to_owned(), current.into());
        object.insert("total".to_owned(), total.into());
        object.insert(
            "percent".to_owned(),
            u64::try_from(u128::from(current) * 100 / u128::from(total.max(1))).unwrap_or(100).into(),
        );
    }
    serde_json::Value::Object(object).to_string() + "\n"
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

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Screen = Screen { rows: 10, columns: 40 };

    fn news(id: &str, phase: Phase, text: &str) -> News {
        News { id: id.to_owned(), phase, text: text.to_owned(), details: String::new() }
    }

    /// What stands on a terminal of this size after these bytes; the cursor may not leave its upper edge.
    fn screen(bytes: &[u8], size: Screen) -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (mut lines, mut row, mut column) = (vec![String::new()], 0_usize, 0_usize);
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\n' => {
                    row += 1;
                    if row == lines.len() {
                        lines.push(String::new());
                    }
                    assert!(lines.len() <= size.rows, "the screen scrolled");
                }
                '\r' => column = 0,
                '\x1b' => {
                    assert_eq!(letters.next(), Some('['));
                    let mut number = String::new();
                    while letters.peek().is_some_and(|c| c.is_ascii_digit() || *c == ';') {
                        number.push(letters.next().unwrap());
                    }
                    match letters.next().unwrap() {
                        'A' => row = row.checked_sub(number.parse().unwrap()).expect("above the screen's edge"),
                        'K' => lines[row].clear(),
                        'J' => {
                            lines.truncate(row + 1);
                            lines[row] = lines[row].chars().take(column).collect();
                        }
                        'm' => {}
                        other => panic!("{other:?}"),
                    }
                }
                letter => {
                    let mut line: Vec<char> = lines[row].chars().collect();
                    line.resize(line.len().max(column + 1), ' ');
                    line[column] = letter;
                    lines[row] = line.into_iter().collect();
                    column += 1;
                    assert!(column <= size.columns, "a line was wrapped: {}", lines[row]);
                }
            }
        }
        lines
    }

    #[test]
    fn a_table_says_how_far_each_thing_is() {
        let mut progress = Progress::new(Mode::Tty, "up", false, true);
        progress.news(news("Network p_default", Phase::Done, "Created"));
        progress.news(news("Container p-web-1", Phase::Working, "Starting"));
        let mut bytes = progress.draw(SMALL);
        progress.news(news("Container p-web-1", Phase::Done, "Started"));
        bytes.extend(progress.finish(SMALL));
        insta::assert_snapshot!(screen(&bytes, SMALL).join("\n"), @r"
        [+] up 2/2
         ✔ Network p_default Created       0.0s
         ✔ Container p-web-1 Started       0.0s
        ");
    }

    #[test]
    fn a_table_that_is_handed_over_stays_with_what_is_done() {
        let mut progress = Progress::new(Mode::Tty, "up", false, true);
        progress.news(news("Container p-web-1", Phase::Working, "Creating"));
        progress.news(news("Network p_default", Phase::Done, "Created"));
        let mut bytes = progress.draw(SMALL);
        bytes.extend(progress.hand_over(SMALL));
        insta::assert_snapshot!(screen(&bytes, SMALL).join("\n"), @r"
        [+] up 1/1
         ✔ Network p_default Created       0.0s
        ");
    }

    #[test]
    fn with_more_things_than_lines_it_shows_those_under_way_and_never_scrolls() {
        let mut progress = Progress::new(Mode::Tty, "up", false, true);
        let mut bytes = Vec::new();
        for number in 0..40 {
            progress.news(news(&format!("Container project-service-{number}"), Phase::Working, "Creating"));
            bytes.extend(progress.draw(SMALL));
        }
        for number in 0..38 {
            progress.news(news(&format!("Container project-service-{number}"), Phase::Done, "Created"));
            bytes.extend(progress.draw(SMALL));
        }
        progress.news(news("Container project-service-39", Phase::Error, "Error"));
        bytes.extend(progress.draw(SMALL));
        let shown = screen(&bytes, SMALL);
        assert_eq!(shown.len(), 10, "nine lines, and the cursor below them");
        assert_eq!(shown[0], "[+] up 39/40");
        assert!(shown[1].contains("✘ Container project-service-39"), "{shown:?}");
        assert!(shown[2].contains("Container project-service-38"), "{shown:?}");
        assert_eq!(shown[8], "   … and 33 more");
    }

    #[test]
    fn what_is_said_in_between_stands_above_the_table() {
        let mut progress = Progress::new(Mode::Tty, "up", false, false);
        progress.news(news("Network n", Phase::Working, "Creating"));
        let mut bytes = progress.draw(SMALL);
        bytes.extend(progress.hide());
        bytes.extend(b"WARN look\n");
        bytes.extend(progress.draw(SMALL));
        let shown = screen(&bytes, SMALL);
        assert_eq!(shown[0], "WARN look");
        assert_eq!(shown[1], "[+] up 0/1");
    }

    #[test]
    fn plain_is_a_line_an_event_and_json_an_object_without_empty_fields() {
        let started = || news("Container p-web-1", Phase::Done, "Started");
        let plain = |dry_run| Progress::new(Mode::Plain, "up", dry_run, false).news(started());
        assert_eq!(plain(false), b" Container p-web-1 Started\n");
        assert_eq!(plain(true), b" DRY-RUN MODE -  Container p-web-1 Started\n");
        let json = Progress::new(Mode::Json, "up", false, false).news(started());
        assert_eq!(json, b"{\"id\":\"Container p-web-1\",\"status\":\"Done\",\"text\":\"Started\"}\n");
        assert_eq!(Progress::new(Mode::Quiet, "up", false, false).news(started()), b"");
    }
}
