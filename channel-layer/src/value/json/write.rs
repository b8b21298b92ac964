//! A writer of JSON, byte for byte like Python's `json.dumps`.

use std::fmt::Write;

use super::super::{Map, Value, ValueError, depth::Levels};

/// Writes a map without its closing brace, so that more entries can follow.
pub(super) fn open_map(map: &Map) -> Result<String, ValueError> {
    let mut text = String::with_capacity(map.size() + map.size() / 4);
    put_entries(&mut text, map, Levels::ALL)?;
    Ok(text)
}

/// Writes a key and its value. `first` is set for the first entry of a map.
pub(super) fn put_entry(
    text: &mut String,
    first: bool,
    key: &str,
    value: &Value,
    levels: Levels,
) -> Result<(), ValueError> {
    if !first {
        text.push_str(", ");
    }
    put_text(text, key);
    text.push_str(": ");
    put(text, value, levels)
}

fn put(text: &mut String, value: &Value, levels: Levels) -> Result<(), ValueError> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::I64(number) => put_display(text, number),
        Value::U64(number) => put_display(text, number),
        Value::F64(number) => put_float(text, *number),
        Value::Str(string) => put_text(text, string),
        Value::Bytes(_) => return Err(ValueError::BytesInJson),
        Value::List(items) => return put_list(text, items, levels),
        Value::Map(map) => {
            put_entries(text, map, levels)?;
            text.push('}');
        }
    }
    Ok(())
}

fn put_list(text: &mut String, items: &[Value], levels: Levels) -> Result<(), ValueError> {
    let inside = levels.enter()?;
    text.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        put(text, item, inside)?;
    }
    text.push(']');
    Ok(())
}

fn put_entries(text: &mut String, map: &Map, levels: Levels) -> Result<(), ValueError> {
    let inside = levels.enter()?;
    text.push('{');
    for (at, (key, value)) in map.iter().enumerate() {
        put_entry(text, at == 0, key, value, inside)?;
    }
    Ok(())
}

/// All but printable ASCII is escaped, beyond the first plane as two surrogates.
fn put_text(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            _ => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                write!(text, "\\u{unit:04x}").expect("a String takes everything");
            }),
        }
    }
    text.push('"');
}

fn put_display(text: &mut String, number: impl std::fmt::Display) {
    write!(text, "{number}").expect("a String takes everything");
}

/// The shortest digits that give the number back, with an exponent below 0.0001 and from 10^16 on, as `repr` has it.
fn put_float(text: &mut String, number: f64) {
    if !number.is_finite() {
        // Not JSON, but Python writes and reads them.
        let name = if number.is_nan() { "NaN" } else { "Infinity" };
        text.push_str(if number < 0.0 { "-" } else { "" });
        return text.push_str(name);
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        write!(text, "{number:?}").expect("a String takes everything");
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(text, "{digits}e{sign}{:02}", exponent.abs()).expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl Into<Value>) -> String {
        let mut text = String::new();
        put(&mut text, &value.into(), Levels::ALL).unwrap();
        text
    }

    #[test]
    fn floats_match_python() {
        let python = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1e16, "1e+16"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, expected) in python {
            assert_eq!(json(number), expected);
        }
    }

    #[test]
    fn escapes_match_python() {
        assert_eq!(json("é\u{7f}\0\n\"\\/🦀"), r#""\u00e9\u007f\u0000\n\"\\/\ud83e\udd80""#);
    }

    #[test]
    fn rejects_bytes_and_deep_lists() {
        assert_eq!(put(&mut String::new(), &Value::bytes([1]), Levels::ALL), Err(ValueError::BytesInJson));
        let deep = (0..200).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        assert_eq!(put(&mut String::new(), &deep, Levels::ALL), Err(ValueError::TooDeep));
    }
}
