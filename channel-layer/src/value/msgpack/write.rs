//! A writer of MessagePack, each value in its shortest form.

use rmp::Marker;

use super::super::{Map, Value, ValueError, depth::Levels};

type Result<T = ()> = std::result::Result<T, WriteError>;

/// A [`ValueError`] of one byte, because each written value pays for the size of its result.
#[derive(Clone, Copy)]
pub(super) enum WriteError {
    TooDeep,
    TooLong,
}

/// Appends the output of `write`. After an error the buffer is unchanged.
pub(super) fn append(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result,
) -> std::result::Result<(), ValueError> {
    let before = out.len();
    write(out).map_err(|error| {
        out.truncate(before);
        match error {
            WriteError::TooDeep => ValueError::TooDeep,
            WriteError::TooLong => ValueError::TooLong,
        }
    })
}

pub(super) fn enter(levels: Levels) -> Result<Levels> {
    levels.enter().map_err(|_| WriteError::TooDeep)
}

pub(super) fn value(out: &mut Vec<u8>, value: &Value, levels: Levels) -> Result {
    match value {
        Value::Null => out.push(Marker::Null.to_u8()),
        Value::Bool(false) => out.push(Marker::False.to_u8()),
        Value::Bool(true) => out.push(Marker::True.to_u8()),
        Value::I64(value) => match u64::try_from(*value) {
            Ok(value) => unsigned(out, value),
            Err(_) => negative(out, *value),
        },
        Value::U64(value) => unsigned(out, *value),
        Value::F64(value) => put(out, Marker::F64, value.to_be_bytes()),
        Value::Str(value) => text(out, value)?,
        Value::Bytes(value) => bytes(out, value)?,
        Value::List(items) => list(out, items, levels)?,
        Value::Map(entries) => map(out, entries, levels)?,
    }
    Ok(())
}

pub(super) fn map(out: &mut Vec<u8>, map: &Map, levels: Levels) -> Result {
    let levels = enter(levels)?;
    map_len(out, map.len())?;
    for (key, item) in map {
        text(out, key)?;
        value(out, item, levels)?;
    }
    Ok(())
}

pub(super) fn map_len(out: &mut Vec<u8>, entries: usize) -> Result {
    match length(entries)? {
        len @ ..16 => out.push(Marker::FixMap(len as u8).to_u8()),
        len @ 16..0x1_0000 => put(out, Marker::Map16, (len as u16).to_be_bytes()),
        len => put(out, Marker::Map32, len.to_be_bytes()),
    }
    Ok(())
}

/// The number of bytes that [`map_len`] writes.
pub(super) fn map_head(entries: usize) -> usize {
    match entries {
        ..16 => 1,
        16..0x1_0000 => 3,
        _ => 5,
    }
}

#[inline]
pub(super) fn text(out: &mut Vec<u8>, text: &str) -> Result {
    match length(text.len())? {
        len @ ..32 => out.push(Marker::FixStr(len as u8).to_u8()),
        len @ 32..0x100 => put(out, Marker::Str8, [len as u8]),
        len @ 0x100..0x1_0000 => put(out, Marker::Str16, (len as u16).to_be_bytes()),
        len => put(out, Marker::Str32, len.to_be_bytes()),
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result {
    match length(bytes.len())? {
        len @ ..0x100 => put(out, Marker::Bin8, [len as u8]),
        len @ 0x100..0x1_0000 => put(out, Marker::Bin16, (len as u16).to_be_bytes()),
        len => put(out, Marker::Bin32, len.to_be_bytes()),
    }
    out.extend_from_slice(bytes);
    Ok(())
}

fn list(out: &mut Vec<u8>, items: &[Value], levels: Levels) -> Result {
    let levels = enter(levels)?;
    match length(items.len())? {
        len @ ..16 => out.push(Marker::FixArray(len as u8).to_u8()),
        len @ 16..0x1_0000 => put(out, Marker::Array16, (len as u16).to_be_bytes()),
        len => put(out, Marker::Array32, len.to_be_bytes()),
    }
    items.iter().try_for_each(|item| value(out, item, levels))
}

fn unsigned(out: &mut Vec<u8>, value: u64) {
    match value {
        ..0x80 => out.push(Marker::FixPos(value as u8).to_u8()),
        0x80..0x100 => put(out, Marker::U8, [value as u8]),
        0x100..0x1_0000 => put(out, Marker::U16, (value as u16).to_be_bytes()),
        0x1_0000..0x1_0000_0000 => put(out, Marker::U32, (value as u32).to_be_bytes()),
        _ => put(out, Marker::U64, value.to_be_bytes()),
    }
}

fn negative(out: &mut Vec<u8>, value: i64) {
    match value {
        -0x20.. => out.push(Marker::FixNeg(value as i8).to_u8()),
        -0x80..-0x20 => put(out, Marker::I8, (value as i8).to_be_bytes()),
        -0x8000..-0x80 => put(out, Marker::I16, (value as i16).to_be_bytes()),
        -0x8000_0000..-0x8000 => put(out, Marker::I32, (value as i32).to_be_bytes()),
        _ => put(out, Marker::I64, value.to_be_bytes()),
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, marker: Marker, bytes: [u8; N]) {
    out.push(marker.to_u8());
    out.extend_from_slice(&bytes);
}

/// Checks that a length fits in 32 bits.
fn length(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| WriteError::TooLong)
}
