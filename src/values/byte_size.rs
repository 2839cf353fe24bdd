//! Amounts of bytes: `64m`, `1.5 GiB`, `1073741824`. Units are powers of 1024 whatever their spelling (Compose, §3 byte values).

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid size: '{0}'")]
pub struct InvalidSize(String);

/// Reads a size in bytes; plain integers may be negative (-1 means "no limit" where a field says so).
pub fn parse(text: &str) -> Result<i64, InvalidSize> {
    let wrong = || InvalidSize(text.to_owned());
    if let Ok(plain) = text.parse() {
        return Ok(plain);
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        "p" | "pb" | "pi" | "pib" => 50,
        _ => return Err(wrong()),
    };
    let bytes = number * (1_i64 << shift) as f64;
    // The nearest double below i64::MAX is 2^63 - 1024; from 2^63 on a cast would saturate silently.
    if bytes < 9_223_372_036_854_775_808.0 { Ok(bytes as i64) } else { Err(wrong()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_whatever_their_spelling() {
        assert_eq!(parse("64m"), Ok(64 << 20));
        assert_eq!(parse("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse("1073741824"), Ok(1 << 30));
        assert_eq!(parse("-1"), Ok(-1));
        for wrong in ["", "zz", "1x", "1..5m", "m", "9999999999p"] {
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
