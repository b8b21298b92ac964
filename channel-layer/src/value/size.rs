//! The length of a value in msgpack, without encoding it.

use super::{Map, Value};

pub(super) fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::I64(value) if *value < 0 => of_negative(*value),
        Value::I64(value) => of_unsigned(value.unsigned_abs()),
        Value::U64(value) => of_unsigned(*value),
        Value::F64(_) => 9,
        Value::Str(value) => of_str(value),
        Value::Bytes(value) => header(value.len(), 0) + value.len(),
        Value::List(items) => of_list_header(items.len()) + items.iter().map(of_value).sum::<usize>(),
        Value::Map(map) => of_map(map),
    }
}

pub(super) fn of_map(map: &Map) -> usize {
    let entries = map.iter().map(|(key, value)| of_str(key) + of_value(value));
    of_list_header(map.len()) + entries.sum::<usize>()
}

fn of_negative(value: i64) -> usize {
    match value {
        -0x20.. => 1,
        -0x80..-0x20 => 2,
        -0x8000..-0x80 => 3,
        -0x8000_0000..-0x8000 => 5,
        _ => 9,
    }
}

fn of_unsigned(value: u64) -> usize {
    match value {
        ..0x80 => 1,
        0x80..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

fn of_str(value: &str) -> usize {
    header(value.len(), 32) + value.len()
}

/// The size of the header of strings and bytes. A length below `short` fits into the marker. Others take one, two or
/// four more bytes.
fn header(len: usize, short: usize) -> usize {
    match len {
        _ if len < short => 1,
        ..0x100 => 2,
        0x100..0x1_0000 => 3,
        _ => 5,
    }
}

/// The size of the header of lists and maps, which have no form with one byte of length.
fn of_list_header(len: usize) -> usize {
    match len {
        ..16 => 1,
        16..0x1_0000 => 3,
        _ => 5,
    }
}
