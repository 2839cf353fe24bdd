//! Parts of a thing under way: the layers of an image that travels, the steps of one that is built, with how far each is, how fast,
//! and how long it takes yet.

use std::time::{Duration, Instant};

use crate::cli::ui::phase::Phase;
use crate::values::byte_size;

/// News of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartNews {
    /// Of what it is a part: `Image redis`.
    pub parent: String,
    /// Which part.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// In words: `Downloading`.
    pub text: String,
    /// Bytes done, and of how many.
    pub amount: Option<(u64, u64)>,
}

/// The parts of one thing.
#[derive(Debug, Default)]
pub struct Parts(Vec<Part>);

#[derive(Debug)]
struct Part {
    id: String,
    phase: Phase,
    text: String,
    amount: Option<(u64, u64)>,
    /// When bytes were first told of, and how many there were then.
    began: Option<(Instant, u64)>,
    /// When it was first told of.
    since: Instant,
    /// How long it took.
    took: Option<Duration>,
}

/// What is shown of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartLine {
    /// What it is.
    pub text: String,
    /// How far it is, in numbers.
    pub amount: String,
    /// How long that has taken.
    pub elapsed: Option<Duration>,
}

impl Parts {
    /// Takes news; returns whether the words are new, not only the numbers.
    pub fn news(&mut self, news: &PartNews) -> bool {
        let known = self.0.iter().position(|part| part.id == news.id);
        let at = known.unwrap_or_else(|| {
            let (id, text) = (news.id.clone(), String::new());
            let since = Instant::now();
            self.0.push(Part { id, phase: Phase::Working, text, amount: None, began: None, since, took: None });
            self.0.len() - 1
        });
        let Some(part) = self.0.get_mut(at) else { return false };
        let fresh = part.text != news.text;
        part.phase = news.phase;
        part.took = (news.phase != Phase::Working).then(|| part.since.elapsed());
        part.text.clone_from(&news.text);
        if let Some((done, _)) = news.amount {
            part.began.get_or_insert((Instant::now(), done));
            part.amount = news.amount;
        }
        fresh
    }

    /// All parts together: `12.3MB/45.6MB 23MB/s 2s`; empty before there are bytes.
    pub fn sum(&self) -> String {
        let amounts = self.0.iter().filter_map(|part| part.amount);
        let (done, total) = amounts.fold((0, 0), |(done, total), amount| (done + amount.0, total + amount.1));
        let began = self.0.iter().filter_map(|part| part.began).min_by_key(|(time, _)| *time);
        let first: u64 = self.0.iter().filter_map(|part| part.began).map(|(_, first)| first).sum();
        match began {
            Some((time, _)) if total > 0 => measure(done, total, rate(done, first, time)),
            _ => String::new(),
        }
    }

    /// A line each, no more than `most`: if they are more, those under way and the last ones, and how many there are besides.
    pub fn lines(&self, most: usize) -> Vec<PartLine> {
        if self.0.len() <= most {
            return self.0.iter().map(Part::line).collect();
        }
        let Some(space) = most.checked_sub(1) else { return Vec::new() };
        let (working, others): (Vec<usize>, Vec<usize>) =
            (0..self.0.len()).partition(|at| self.0[*at].phase == Phase::Working);
        let mut kept: Vec<usize> = working.into_iter().chain(others.into_iter().rev()).take(space).collect();
        kept.sort_unstable();
        let mut lines: Vec<PartLine> = kept.into_iter().map(|at| self.0[at].line()).collect();
        lines.push(PartLine {
            text: format!("… and {} more", self.0.len() - lines.len()),
            amount: String::new(),
            elapsed: None,
        });
        lines
    }
}

impl Part {
    fn line(&self) -> PartLine {
        let amount = match (self.amount, self.began, self.phase) {
            (Some((done, total)), Some((time, first)), Phase::Working) if done < total => {
                format!(" {} {}", bar(done, total), measure(done, total, rate(done, first, time)))
            }
            (Some((_, total)), _, Phase::Working) => format!(" {}", byte_size::human(total)),
            _ => String::new(),
        };
        let elapsed = Some(self.took.unwrap_or_else(|| self.since.elapsed()));
        PartLine { text: format!("{} {}", self.id, self.text), amount, elapsed }
    }
}

/// `[====>     ]`
fn bar(done: u64, total: u64) -> String {
    const WIDTH: usize = 20;
    let filled =
        usize::try_from(u128::from(done) * WIDTH as u128 / u128::from(total.max(1))).unwrap_or(WIDTH).min(WIDTH);
    let head = if filled < WIDTH { ">" } else { "" };
    format!("[{}{head}{}]", "=".repeat(filled), " ".repeat((WIDTH - filled).saturating_sub(1)))
}

/// Bytes a second since the first were told of; `None` as long as that says nothing.
fn rate(done: u64, first: u64, began: Instant) -> Option<f64> {
    let seconds = began.elapsed().as_secs_f64();
    let moved = done.saturating_sub(first);
    (seconds > 0.2 && moved > 0).then(|| moved as f64 / seconds)
}

fn measure(done: u64, total: u64, rate: Option<f64>) -> String {
    let mut text = format!("{}/{}", byte_size::human(done), byte_size::human(total));
    if let Some(rate) = rate.filter(|_| done < total) {
        let left = (total - done) as f64 / rate;
        text += &format!(" {}/s {}", byte_size::human(rate as u64), time(left.ceil() as u64));
    }
    text
}

/// `45s`, `3m12s`, `2h05m`.
fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(id: &str, phase: Phase, text: &str, amount: Option<(u64, u64)>) -> PartNews {
        PartNews { parent: "Image x".to_owned(), id: id.to_owned(), phase, text: text.to_owned(), amount }
    }

    #[test]
    fn parts_say_how_far_they_are_and_the_rest_is_a_number() {
        let mut parts = Parts::default();
        assert!(parts.news(&news("a", Phase::Working, "Downloading", Some((50, 100)))));
        assert!(!parts.news(&news("a", Phase::Working, "Downloading", Some((75, 100)))), "only numbers");
        parts.news(&news("b", Phase::Done, "Already exists", None));
        parts.news(&news("c", Phase::Working, "Extracting", Some((2000, 2000))));
        let texts = |most| parts.lines(most).into_iter().map(|line| line.text + &line.amount).collect::<Vec<_>>();
        let lines = texts(3);
        assert!(lines[0].starts_with("a Downloading [===============>    ] 75B/100B"), "{lines:?}");
        assert_eq!(lines[1..], ["b Already exists", "c Extracting 2kB"]);
        assert_eq!(texts(2)[1], "… and 2 more");
        assert_eq!(texts(0), [""; 0]);
        assert!(parts.sum().starts_with("2.08kB/2.1kB"), "{}", parts.sum());
    }

    #[test]
    fn time_left_is_told_in_few_letters() {
        assert_eq!([time(0), time(59), time(192), time(7500)], ["0s", "59s", "3m12s", "2h05m"]);
    }
}
