//! Spans of time as Compose writes them: `1h5m30s20ms`, also `d` and `w` (Compose specification, "Specifying durations").

use std::time::Duration;

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Digits without a unit behind them.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that is none of ns, us, µs, ms, s, m, h, d, w.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Anything else, and what exceeds 2^63 nanoseconds.
    #[error("time: invalid duration {0:?}")]
    Malformed(String),
}

/// Reads a duration that may be negative, and says whether it is. Compose takes those and leaves it to the engine to refuse.
pub fn parse_signed(text: &str) -> Result<(bool, Duration), InvalidDuration> {
    match text.strip_prefix('-') {
        Some(rest) if rest.starts_with(['+', '-']) => Err(InvalidDuration::Malformed(text.to_owned())),
        Some(rest) => parse(rest).map(|duration| (true, duration)),
        None => parse(text).map(|duration| (false, duration)),
    }
}

/// Reads a duration of one or more numbers with units; `0` alone needs none.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let wrong = || InvalidDuration::Malformed(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..letters] {
            "" => return Err(InvalidDuration::MissingUnit(text.to_owned())),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            unit => return Err(InvalidDuration::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() }),
        };
        total += number * factor;
        rest = &rest[letters..];
    }
    if total < 9_223_372_036_854_775_807.0 { Ok(Duration::from_nanos(total.round() as u64)) } else { Err(wrong()) }
}

/// Prints as Go does: `1m30s`, `1.5s`, `20ms`, `0s`.
pub fn go(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fraction = |value: u128, per: u128| {
        let text = format!("{}.{:0width$}", value / per, value % per, width = per.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let (hours, rest) = (nanos / 3_600_000_000_000, nanos % 3_600_000_000_000);
            let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_weeks_are_hours_and_go_prints_them_so() {
        for (text, printed) in [
            ("1h5m30s20ms", "1h5m30.02s"),
            ("1d", "24h0m0s"),
            ("90s", "1m30s"),
            ("1.5s", "1.5s"),
            ("0", "0s"),
            ("20ms", "20ms"),
        ] {
            assert_eq!(go(parse(text).unwrap()), printed, "{text}");
        }
    }

    #[test]
    fn a_number_needs_a_unit() {
        assert_eq!(parse("5"), Err(InvalidDuration::MissingUnit("5".to_owned())));
        assert!(matches!(parse("5x"), Err(InvalidDuration::UnknownUnit { .. })));
        assert!(parse("").is_err() && parse("s").is_err() && parse("1..2s").is_err());
    }
}
