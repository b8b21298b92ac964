//! JSON as browsers write it.
//!
//! A string of JavaScript may hold half of a surrogate pair: an emoji that was cut by `slice` or `maxlength`.
//! `JSON.stringify` writes the half as an escape, `\ud83d`, which serde_json refuses.

use serde::de::DeserializeOwned;

/// Length of an escape, `\ud83d`.
const ESCAPE: usize = 6;

/// Reads JSON; lone surrogates become U+FFFD.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    // Valid JSON is scanned only once.
    serde_json::from_str(text).or_else(|fault| match replaced(text) {
        Some(text) => serde_json::from_str(&text),
        None => Err(fault),
    })
}

/// Returns the text with every lone surrogate replaced by `\ufffd`, at the same length. `None` if there is
/// none.
fn replaced(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(next) = bytes[at..].iter().position(|&byte| byte == b'\\') {
        at += next;
        at += match unit(bytes, at) {
            // `\\` is a backslash: what follows it is no escape.
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(unit(bytes, at + ESCAPE), Some(0xDC00..=0xDFFF)) => 2 * ESCAPE,
            Some(0xD800..=0xDFFF) => {
                out.push_str(&text[copied..at]);
                out.push_str("\\ufffd");
                copied = at + ESCAPE;
                ESCAPE
            }
            Some(_) => ESCAPE,
        };
        if at >= bytes.len() {
            break;
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

/// Returns the code unit that is escaped at this index, if there is an escape.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    // `from_str_radix` takes a sign as well.
    let hex = digits.iter().all(u8::is_ascii_hexdigit).then(|| std::str::from_utf8(digits).ok())??;
    u16::from_str_radix(hex, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replaces_lone_surrogates() {
        for (json, text) in [
            (r#""\ud83d""#, "\u{FFFD}"),
            (r#""a\uD83Db""#, "a\u{FFFD}b"),
            (r#""\uDe00""#, "\u{FFFD}"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\uD83D\uDE00""#, "😀"),
            (r#""\ud83d\ud83d""#, "\u{FFFD}\u{FFFD}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{FFFD}😀"),
            (r#""\ude00\ud83d""#, "\u{FFFD}\u{FFFD}"),
            (r#""\ude00\ud83d\ude00\ude00""#, "\u{FFFD}😀\u{FFFD}"),
            (r#""\ud83d\u0041""#, "\u{FFFD}A"),
            (r#""\ud83d\n""#, "\u{FFFD}\n"),
            (r#""\ud83dude00""#, "\u{FFFD}ude00"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\\\ud83d""#, "\\\u{FFFD}"),
            (r#""\\\\ud83d\ud83d""#, "\\\\ud83d\u{FFFD}"),
            (r#""\ud7ff\ue000\ufffd""#, "\u{d7ff}\u{e000}\u{fffd}"),
            (r#""汉\ud83d字""#, "汉\u{FFFD}字"),
        ] {
            assert_eq!(read::<String>(json).unwrap(), text, "{json}");
        }
    }

    #[test]
    fn keys_are_read_like_values() {
        let map: BTreeMap<String, Vec<String>> = read(r#"{"\ud83d":["x","\udead"]}"#).unwrap();
        assert_eq!(map["\u{FFFD}"], ["x", "\u{FFFD}"]);
        let value: serde_json::Value = read(r#"{"a":{"b\udfff":[{"c":"\ud800"}]}}"#).unwrap();
        assert_eq!(value["a"]["b\u{FFFD}"][0]["c"], "\u{FFFD}");
    }

    #[test]
    fn bad_json_keeps_its_error() {
        for json in [r#""\ud83"#, r#""\ud83d"#, r#"\ud83d"#, r#""\uzzzz""#, r#""\u+83d""#, r#""\"#, "", "\\"]
        {
            let fault = read::<String>(json).unwrap_err().to_string();
            let known = serde_json::from_str::<String>(&json.replace("\\ud83d", "\\ufffd")).unwrap_err();
            assert_eq!(fault, known.to_string(), "{json}");
        }
        assert!(read::<u8>(r#"{"\ud83d":1}"#).unwrap_err().to_string().contains("invalid type"));
    }

    #[test]
    fn floats_are_exact() {
        let many_digits = format!("777{}", "8".repeat(74));
        for text in [
            "0.1",
            "1.7976931348623157e308",
            "5e-324",
            "9007199254740993.0",
            "0.30000000000000004",
            &many_digits,
        ] {
            assert_eq!(
                read::<f64>(text).unwrap().to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn reads_any_javascript_string(units: Vec<u16>) {
            let json: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let text = read::<String>(&format!("\"{json}\"")).unwrap();
            prop_assert_eq!(text, String::from_utf16_lossy(&units));
        }
    }
}
