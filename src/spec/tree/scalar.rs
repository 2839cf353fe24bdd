//! Which kind of value a plain word is, and how Go would print it.
//!
//! The rules are those of the YAML library of Docker Compose (go-yaml v3), which are neither YAML 1.1 nor 1.2: booleans are
//! `true` and `false` alone, integers may be written `0440`, `0o440`, `0x120`, `0b1` and with `_` between the digits, a
//! leading-zero number that is not octal (`089`) is a float, and base 60 is text.

use super::Value;

/// The value of an unquoted word.
pub(super) fn resolve(word: &str) -> Value {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match word.as_bytes().first() {
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let digits = word.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        Some(b'.') => float(word),
        Some(_) | None => None,
    };
    number.unwrap_or_else(|| Value::String(word.to_owned()))
}

fn integer(word: &str) -> Option<Value> {
    let (negative, digits) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // A second sign would be taken by the parser.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let size = i128::from_str_radix(digits, base).ok()?;
    let value = if negative { -size } else { size };
    (value >= i128::from(i64::MIN) && value <= i128::from(u64::MAX)).then_some(Value::Int(value))
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn float(word: &str) -> Option<Value> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let some = |text: &str| !text.is_empty() && number(text);
    let formed = number(whole) && number(fraction) && (some(whole) || some(fraction)) && exponent.is_none_or(some);
    let value: f64 = word.parse().ok().filter(|_| formed)?;
    // Too large for a float is an error in Go's parser, so the word stays text.
    value.is_finite().then_some(Value::Float(value))
}

/// `2001-1-2`, alone or with a time: as RFC 3339 has it. Quoted, it would be a text.
pub(super) fn timestamp(word: &str) -> Option<String> {
    let (day, time) = match word.split_once(['T', 't', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (word, None),
    };
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let formed = digits.contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| formed)
    };
    let mut parts = day.splitn(3, '-');
    let year = number(parts.next()?, 4..=4)?;
    let (month, day) = (number(parts.next()?, 1..=2)?, number(parts.next()?, 1..=2)?);
    let days = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let Some(time) = time else { return Some(format!("{year:04}-{month:02}-{day:02}T00:00:00Z")) };
    let (time, zone) = match time.find(['Z', '+', '-']) {
        // A zone goes with a `T`, and none with a space.
        Some(at) if !word.contains(' ') => (&time[..at], &time[at..]),
        None if word.contains(' ') => (time, "Z"),
        Some(_) | None => return None,
    };
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let mut parts = time.splitn(3, ':').map(|part| number(part, 1..=2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let zoned = zone == "Z" || {
        let (hours, minutes) = zone[1..].split_once(':')?;
        number(hours, 2..=2)? < 25 && number(minutes, 2..=2)? < 61
    };
    let fraction = match fraction {
        None => String::new(),
        Some(digits) => {
            number(digits, 1..=9)?;
            let digits = digits.trim_end_matches('0');
            if digits.is_empty() { String::new() } else { format!(".{digits}") }
        }
    };
    (hour < 24 && minute < 60 && second < 60 && zoned)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}

/// As Go's `fmt.Sprint` prints it.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::Float(value) => Some(float_text(*value)),
        Value::String(text) => Some(text.clone()),
        Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// Go's `%v` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on
fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        return value.to_string();
    }
    let shortest = format!("{value:e}");
    match shortest.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(down) => format!("{digits}e-{down:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        None => shortest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_text_and_only_true_and_false_are_booleans() {
        for word in ["yes", "No", "on", "off", "y", "n", "tRUE"] {
            assert_eq!(resolve(word), Value::String(word.into()));
        }
        assert_eq!(resolve("True"), Value::Bool(true));
        assert_eq!(resolve("FALSE"), Value::Bool(false));
    }

    #[test]
    fn integers_may_be_octal_hexadecimal_binary_or_grouped() {
        for (word, value) in [
            ("0440", 288),
            ("0o440", 288),
            ("0x1F", 31),
            ("0b11", 3),
            ("1_000", 1000),
            ("-7", -7),
            ("+7", 7),
            ("0", 0),
            ("-0o17", -15),
            ("18446744073709551615", i128::from(u64::MAX)),
        ] {
            assert_eq!(resolve(word), Value::Int(value), "{word}");
        }
    }

    #[test]
    fn a_number_past_64_bits_or_with_a_false_octal_digit_is_a_float() {
        assert_eq!(resolve("18446744073709551616"), Value::Float(18_446_744_073_709_551_616.0));
        assert_eq!(resolve("089"), Value::Float(89.0));
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for word in ["1:30", "1.2.3", "-", "+", "0x", "1e", "--1", "0-1", ".", "..", "1e999", "_1", "0o", "12h"] {
            assert_eq!(resolve(word), Value::String(word.into()), "{word}");
        }
    }

    #[test]
    fn dates_are_told_from_what_only_looks_like_one() {
        for (word, shown) in [
            ("2001-01-02", "2001-01-02T00:00:00Z"),
            ("2001-1-2", "2001-01-02T00:00:00Z"),
            ("2001-01-02T3:4:5Z", "2001-01-02T03:04:05Z"),
            ("2001-01-02t03:04:05.60+02:00", "2001-01-02T03:04:05.6+02:00"),
            ("2001-01-02 03:04:05", "2001-01-02T03:04:05Z"),
            ("2000-02-29", "2000-02-29T00:00:00Z"),
        ] {
            assert_eq!(timestamp(word).as_deref(), Some(shown), "{word}");
        }
        for word in
            ["2001-01", "2001-13-01", "2001-02-29", "01-01-2001", "2001-01-02T03:04:05", "2001-01-02 x", "2001-01-02-3"]
        {
            assert_eq!(timestamp(word), None, "{word}");
        }
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        for (word, shown) in [
            ("1.50", "1.5"),
            ("1.0", "1"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("999999.5", "999999.5"),
            ("1234567.0", "1.234567e+06"),
            ("1e21", "1e+21"),
            ("0.00001", "1e-05"),
            ("-.inf", "-Inf"),
            (".nan", "NaN"),
        ] {
            assert_eq!(text(&resolve(word)).as_deref(), Some(shown), "{word}");
        }
    }
}
