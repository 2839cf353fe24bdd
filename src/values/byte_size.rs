//! Amounts of bytes: `64m`, `1.5 GiB`, `1073741824`. Units are powers of 1024 whatever their spelling (Compose, §3 byte values).

use crate::values::float;

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid size: '{0}'")]
pub struct InvalidSize(String);

/// Reads a size in bytes: a number, possibly with a fraction, and a unit, possibly after a space. Never negative.
pub fn parse(text: &str) -> Result<i64, InvalidSize> {
    let wrong = || InvalidSize(text.to_owned());
    // The last digit, point or space parts number and unit, so `1e3k` is a number too, as it is for Docker.
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(last + 1);
    let number = float::parse(number.strip_suffix(' ').unwrap_or(number)).ok_or_else(wrong)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(wrong()),
    };
    let bytes = number * (1_i64 << shift) as f64;
    // The nearest double below i64::MAX is 2^63 - 1024; from 2^63 on a cast would saturate silently.
    if (0.0..9_223_372_036_854_775_808.0).contains(&bytes) { Ok(bytes as i64) } else { Err(wrong()) }
}

/// As Docker prints sizes for people: three significant digits, powers of 1000 (`4.43MB`).
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// As Docker prints memory: four significant digits, powers of 1024 (`1.477MiB`).
pub fn binary(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        1000.0.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_in_powers_of_1024() {
        let shown = [0, 1023, 1 << 20, 1_548_700, 7_912_345_678].map(binary);
        assert_eq!(shown, ["0B", "1023B", "1MiB", "1.477MiB", "7.369GiB"]);
    }

    #[test]
    fn units_are_binary_whatever_their_spelling() {
        assert_eq!(parse("64m"), Ok(64 << 20));
        assert_eq!(parse("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse("1073741824"), Ok(1 << 30));
        assert_eq!(parse("1.5"), Ok(1));
        assert_eq!(parse(".5k"), Ok(512));
        assert_eq!(parse("1e3"), Ok(1000));
        for wrong in ["", "zz", "1x", "1..5m", "m", "9999999999p", "-1", "1gi", " 1g", "1 g ", "inf", "NaNb"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_print_with_three_significant_digits() {
        assert_eq!(human(4_430_000), "4.43MB");
        assert_eq!(human(123_456), "123kB");
        assert_eq!(human(12), "12B");
    }
}
