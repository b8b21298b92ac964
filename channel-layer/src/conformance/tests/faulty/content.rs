//! Faults that change messages.

use super::Fault;
use crate::{
    ext::REPLY_CHANNEL,
    message::Message,
    value::{Map, Value},
};

/// The recipient of a message, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Group,
    Mailbox,
    Named,
    Union,
}

/// The most bytes of a text whose length is written in 16 bits.
const SHORT_TEXT: usize = u16::MAX as usize;

/// Changes a message to this kind of recipient, if the fault is about that.
pub(super) fn change(fault: Option<Fault>, kind: Kind, message: Message) -> Message {
    let fault = match (fault, kind) {
        (Some(Fault::ListsBytesOfNamed), Kind::Named)
        | (Some(Fault::ListsBytesOfGroupSends), Kind::Group)
        | (Some(Fault::ListsBytesOfUnions), Kind::Union) => Fault::ListsBytes,
        (Some(fault), _) => fault,
        (None, _) => return message,
    };
    changed(fault, &message).unwrap_or(message)
}

/// The message that arrives instead, or `None` if it is the same.
pub(super) fn changed(fault: Fault, message: &Message) -> Option<Message> {
    if !changes(fault) {
        return None;
    }
    let map = map_of(fault, message.map().clone(), 0);
    Some(Message::try_from(map).expect("no reserved key"))
}

fn changes(fault: Fault) -> bool {
    use Fault as F;
    matches!(
        fault,
        F::ListsBytes
            | F::FloatsIntegers
            | F::RoundsIntegers
            | F::WrapsUnsigned
            | F::DropsNulls
            | F::DropsEmptyText
            | F::DropsEmptyLists
            | F::DropsEmptyBytes
            | F::ManglesUnicode
            | F::ComposesUnicode
            | F::StripsControls
            | F::TrimsText
            | F::CutsText
            | F::SortsKeys
            | F::DropsDepth
            | F::RoundsFloats
            | F::DropsNegativeZero
            | F::ShortensFloats
            | F::RenamesTypes
            | F::DropsFields
            | F::DropsReplyChannels
    )
}

fn map_of(fault: Fault, map: Map, depth: usize) -> Map {
    let mut entries: Vec<(String, Value)> = map.into_iter().collect();
    if fault == Fault::SortsKeys {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    let mut changed = Map::new();
    for (key, value) in entries {
        let value = match (fault, value) {
            (Fault::DropsFields, _) if key.is_empty() || key.starts_with('_') => continue,
            (Fault::DropsReplyChannels, _) if key == REPLY_CHANNEL => continue,
            (Fault::RenamesTypes, Value::Str(text)) if key == "type" => Value::from(text.replace('.', "_")),
            (_, value) => value,
        };
        if let Some(value) = value_of(fault, value, depth + 1) {
            changed.insert(key, value);
        }
    }
    changed
}

/// The value that arrives instead, or `None` if it is dropped.
fn value_of(fault: Fault, value: Value, depth: usize) -> Option<Value> {
    let value = match value {
        Value::Null if fault == Fault::DropsNulls => return None,
        Value::Map(map) if map.is_empty() && fault == Fault::DropsEmptyLists => return None,
        Value::List(list) if list.is_empty() && fault == Fault::DropsEmptyLists => return None,
        Value::Map(_) | Value::List(_) if depth > 8 && fault == Fault::DropsDepth => Value::Null,
        Value::Map(map) => Value::Map(map_of(fault, map, depth)),
        Value::List(list) => {
            Value::List(list.into_iter().filter_map(|value| value_of(fault, value, depth + 1)).collect())
        }
        Value::Str(text) => text_of(fault, text),
        other => number_of(fault, other),
    };
    Some(value)
}

fn text_of(fault: Fault, text: String) -> Value {
    match fault {
        Fault::DropsEmptyText if text.is_empty() => Value::Null,
        Fault::ManglesUnicode => Value::from(text.replace(|c: char| !c.is_ascii(), "?")),
        Fault::ComposesUnicode => Value::from(text.replace("e\u{301}", "é")),
        Fault::StripsControls => Value::from(text.replace(|c: char| c.is_control(), "")),
        Fault::TrimsText => Value::from(text.trim()),
        Fault::CutsText if text.len() > SHORT_TEXT => {
            let end = (0..=SHORT_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            Value::from(&text[..end])
        }
        _ => Value::from(text),
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the fault"
)]
fn number_of(fault: Fault, value: Value) -> Value {
    match (fault, value) {
        (Fault::ListsBytes, Value::Bytes(bytes)) => Value::list(bytes.into_iter().map(i64::from)),
        (Fault::DropsEmptyBytes, Value::Bytes(bytes)) if bytes.is_empty() => Value::Null,
        (Fault::FloatsIntegers, Value::I64(number)) => Value::F64(number as f64),
        (Fault::RoundsIntegers, Value::I64(number)) => Value::I64(number as f64 as i64),
        (Fault::RoundsIntegers, Value::U64(number)) => Value::U64(number as f64 as u64),
        (Fault::WrapsUnsigned, Value::U64(number)) => Value::I64(number as i64),
        (Fault::RoundsFloats, Value::F64(number)) => Value::F64(f64::from(number as f32)),
        (Fault::DropsNegativeZero, Value::F64(number)) => Value::F64(number + 0.0),
        (Fault::ShortensFloats, Value::F64(number)) if number.fract() == 0.0 && number.abs() < 1e15 => {
            Value::I64(number as i64)
        }
        (_, value) => value,
    }
}
