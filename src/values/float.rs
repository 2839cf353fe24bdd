//! Numbers with a fraction, as Docker Compose reads them out of texts: `0.5`, `1e3`, `1_000`, `Inf`.

/// Reads a number; `_` may stand between digits. None if it is none, or too large for 64 bits.
pub fn parse(text: &str) -> Option<f64> {
    let digit = |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
    if !text.match_indices('_').all(|(at, _)| digit(at.checked_sub(1)) && digit(Some(at + 1))) {
        return None;
    }
    let number: f64 = text.replace('_', "").parse().ok()?;
    let named = text.contains(['n', 'N']);
    (number.is_finite() || named).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_may_be_parted_and_infinity_must_be_meant() {
        assert_eq!(parse("0.5"), Some(0.5));
        assert_eq!(parse("1_000.2_5"), Some(1000.25));
        assert_eq!(parse("-Inf"), Some(f64::NEG_INFINITY));
        for wrong in ["", "x", "_1", "1_", "1__0", "1_.5", "1e400", " 1"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
