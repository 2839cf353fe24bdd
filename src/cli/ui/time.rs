//! Moments and spans as Docker prints them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How long ago in words, as Docker's `units.HumanDuration`.
pub fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let hours = seconds / HOUR + i64::from(seconds % HOUR >= HOUR / 2);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => format!("{seconds} seconds"),
        MINUTE..120 => "About a minute".to_owned(),
        120..HOUR => format!("{} minutes", seconds / MINUTE),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / DAY / 365),
    }
}

/// Whole seconds from one moment to another, both in nanoseconds since 1970; never negative.
pub fn seconds_between(earlier: i64, later: i64) -> i64 {
    later.saturating_sub(earlier).max(0) / 1_000_000_000
}

/// Now, in nanoseconds since 1970.
pub fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// `2026-01-02T03:04:05.678901234Z`: always nine digits, as Docker's logs and events have them.
pub fn precise(nanoseconds: i64) -> String {
    timestamp(nanoseconds).strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// `2026-01-02 03:04:05 +0000 UTC`, as `ps --format json` has it.
pub fn calendar(nanoseconds: i64) -> String {
    timestamp(nanoseconds).strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// `2026-01-02 03:04:05.678901`, as `events` has it.
pub fn micro(nanoseconds: i64) -> String {
    timestamp(nanoseconds).strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// `2026-01-02T03:04:05.678901234Z` without needless zeros (Go's RFC3339Nano).
pub fn rfc3339(nanoseconds: i64) -> String {
    timestamp(nanoseconds).to_string()
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid time {0:?}: expected a time as 2013-01-02T13:23:37Z, seconds since 1970, or a span as 42m")]
pub struct InvalidMoment(String);

/// A moment as `--since` and `--until` take it: RFC 3339 (also without zone, then UTC, or a date alone), seconds since 1970
/// with a fraction, or a span before `now`. In nanoseconds since 1970.
pub fn moment(text: &str, now: i64) -> Result<i64, InvalidMoment> {
    let wrong = || InvalidMoment(text.to_owned());
    if let Ok(span) = crate::values::duration::parse(text)
        && text != "0"
    {
        return Ok(now.saturating_sub(i64::try_from(span.as_nanos()).map_err(|_| wrong())?));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return i64::try_from(timestamp.as_nanosecond()).map_err(|_| wrong());
    }
    if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        let zoned = local.to_zoned(TimeZone::UTC).map_err(|_| wrong())?;
        return i64::try_from(zoned.timestamp().as_nanosecond()).map_err(|_| wrong());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !(fraction.is_empty() || digits(fraction)) {
        return Err(wrong());
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9).unwrap_or("0").parse().map_err(|_| wrong())?;
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(nanoseconds)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_docker_says_them() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (731 * 86400, "2 years"),
        ] {
            assert_eq!(human(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_moment_is_a_date_or_a_span_before_now_or_seconds() {
        let now = 1_700_000_000_000_000_000;
        assert_eq!(moment("42s", now), Ok(1_699_999_958_000_000_000));
        assert_eq!(moment("2023-11-14T22:13:20Z", now), Ok(now));
        assert_eq!(moment("2023-11-14T22:13:20", now), Ok(now));
        assert_eq!(moment("2023-11-14T23:13:20+01:00", now), Ok(now));
        assert_eq!(moment("2023-11-14", now), Ok(1_699_920_000_000_000_000));
        assert_eq!(moment("1700000000.5", now), Ok(now + 500_000_000));
        assert_eq!(moment("0", now), Ok(0));
        for wrong in ["", "yesterday", "1.x", "99999999999999999999"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn log_times_have_nine_digits() {
        assert_eq!(precise(1_700_000_000_000_000_000), "2023-11-14T22:13:20.000000000Z");
        assert_eq!(rfc3339(1_700_000_000_500_000_000), "2023-11-14T22:13:20.5Z");
        assert_eq!(micro(1_700_000_000_500_000_000), "2023-11-14 22:13:20.500000");
        assert_eq!(calendar(1_700_000_000_500_000_000), "2023-11-14 22:13:20 +0000 UTC");
    }
}
