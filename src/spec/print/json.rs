//! JSON as Go's `encoding/json` writes it.

use super::{Endless, Out, go_number};

/// On lines, two spaces a level.
pub(super) fn indented(out: &Out<'_>) -> Result<String, Endless> {
    let mut text = String::new();
    write(out, 0, &mut text)?;
    Ok(text)
}

/// `level` is how far in.
fn write(out: &Out<'_>, level: usize, text: &mut String) -> Result<(), Endless> {
    match out {
        Out::Null => text.push_str("null"),
        Out::Bool(yes) => text.push_str(if *yes { "true" } else { "false" }),
        Out::Int(number) => text.push_str(&number.to_string()),
        Out::Single(number) => write_number(f64::from(*number), &format!("{number:e}"), text)?,
        Out::Double(number) => write_number(*number, &format!("{number:e}"), text)?,
        Out::Text(value) => write_text(value, text),
        Out::List(list) => {
            text.push('[');
            for (n, item) in list.iter().enumerate() {
                begin(n, level, text);
                write(item, level + 1, text)?;
            }
            end(list.is_empty(), level, text);
            text.push(']');
        }
        Out::Map(entries) => {
            text.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                begin(n, level, text);
                write_text(key, text);
                text.push_str(": ");
                write(value, level + 1, text)?;
            }
            end(entries.is_empty(), level, text);
            text.push('}');
        }
    }
    Ok(())
}

fn begin(n: usize, level: usize, text: &mut String) {
    if n > 0 {
        text.push(',');
    }
    new_line(level + 1, text);
}

fn end(empty: bool, level: usize, text: &mut String) {
    if !empty {
        new_line(level, text);
    }
}

fn new_line(level: usize, text: &mut String) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", level));
}

fn write_number(number: f64, scientific: &str, text: &mut String) -> Result<(), Endless> {
    if !number.is_finite() {
        return Err(Endless);
    }
    let (written, exponent) = go_number(scientific, -6, 21);
    // Go writes 1e-09 as 1e-9 in JSON only.
    let short = |written: String| written.replace("e-0", "e-");
    text.push_str(&if exponent { short(written) } else { written });
    Ok(())
}

/// `<`, `>` and `&` are escaped too, as Go does for the sake of browsers.
fn write_text(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}
