//! The order of a map's keys: as text in JSON; in YAML as Go's `yaml` has it, letters after everything else (but before it
//! behind a digit), and numbers by their value.

use std::cmp::Ordering;

/// Sorts by key as YAML has it. The order is not quite total (leading zeros), which the library's sort may answer with a
/// panic; this one takes any order.
pub(super) fn natural<'a, T>(entries: impl Iterator<Item = (&'a str, T)>) -> Vec<(&'a str, T)> {
    let mut sorted: Vec<(&str, T)> = Vec::new();
    for (key, value) in entries {
        let place = match sorted.last() {
            Some((last, _)) if compare(last, key) == Ordering::Greater => {
                sorted.partition_point(|(other, _)| compare(other, key) != Ordering::Greater)
            }
            _ => sorted.len(),
        };
        sorted.insert(place, (key, value));
    }
    sorted
}

fn compare(a: &str, b: &str) -> Ordering {
    let mut after_digit = false;
    // The number that is being read when the texts part ways has begun with something else than a zero.
    let mut begun = false;
    let (mut left, mut right) = (a.chars(), b.chars());
    loop {
        let (from_left, from_right) = (left.as_str(), right.as_str());
        let (one, other) = match (left.next(), right.next()) {
            (Some(one), Some(other)) => (one, other),
            (one, other) => return one.is_some().cmp(&other.is_some()),
        };
        if one == other {
            after_digit = one.is_numeric();
            begun = after_digit && (begun || one != '0');
            continue;
        }
        return match (one.is_alphabetic(), other.is_alphabetic()) {
            (true, true) => one.cmp(&other),
            (true, false) => {
                if after_digit {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if after_digit {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) => {
                let zero = begun && (one == '0' || other == '0');
                let ((number, length), (other_number, other_length)) =
                    (number(from_left, zero), number(from_right, zero));
                number.cmp(&other_number).then(length.cmp(&other_length)).then(one.cmp(&other))
            }
        };
    }
}

/// The digits that a text begins with as a number, a one before them if so asked, and how many they are.
fn number(text: &str, one_before: bool) -> (u128, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold((u128::from(one_before), 0), |(number, length), digit| {
        (number.saturating_mul(10).saturating_add(u128::from(digit - b'0')), length + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_by_value_and_letters_come_after_what_is_none() {
        for (mut keys, sorted) in [
            (vec!["a10", "a9", "a"], vec!["a", "a9", "a10"]),
            (vec!["EXECUTED", "EXECUTE_ON"], vec!["EXECUTE_ON", "EXECUTED"]),
            (vec!["a1b", "a1_"], vec!["a1b", "a1_"]),
            (vec!["A", "_A", "1"], vec!["_A", "1", "A"]),
        ] {
            let order = natural(keys.drain(..).map(|key| (key, ())));
            assert_eq!(order.into_iter().map(|(key, ())| key).collect::<Vec<_>>(), sorted);
        }
    }
}
