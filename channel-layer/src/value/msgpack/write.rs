//! Values into MessagePack.

use std::mem;

use rmp::encode::{self, ByteBuf};

use super::super::{Map, Value, ValueError, depth::Levels};

type Result<T = ()> = std::result::Result<T, ValueError>;

/// Appends what `write` writes, or leaves the buffer as it was.
pub(super) fn append(bytes: &mut Vec<u8>, write: impl FnOnce(&mut ByteBuf) -> Result) -> Result {
    let before = bytes.len();
    // `ByteBuf` is a vector whose writes have no errors.
    let mut out = ByteBuf::from_vec(mem::take(bytes));
    let written = write(&mut out);
    *bytes = out.into_vec();
    if written.is_err() {
        bytes.truncate(before);
    }
    written
}

pub(super) fn value(out: &mut ByteBuf, value: &Value, levels: Levels) -> Result {
    match value {
        Value::Null => {
            let Ok(()) = encode::write_nil(out);
        }
        Value::Bool(value) => {
            let Ok(()) = encode::write_bool(out, *value);
        }
        Value::I64(value) => {
            let Ok(_) = encode::write_sint(out, *value);
        }
        Value::U64(value) => {
            let Ok(_) = encode::write_uint(out, *value);
        }
        Value::F64(value) => {
            let Ok(()) = encode::write_f64(out, *value);
        }
        Value::Str(value) => text(out, value)?,
        Value::Bytes(value) => {
            let Ok(_) = encode::write_bin_len(out, length(value.len())?);
            out.as_mut_vec().extend_from_slice(value);
        }
        Value::List(items) => list(out, items, levels)?,
        Value::Map(entries) => map(out, entries, levels)?,
    }
    Ok(())
}

pub(super) fn map(out: &mut ByteBuf, map: &Map, levels: Levels) -> Result {
    let levels = levels.enter()?;
    map_len(out, map.len())?;
    for (key, item) in map {
        text(out, key)?;
        value(out, item, levels)?;
    }
    Ok(())
}

pub(super) fn map_len(out: &mut ByteBuf, entries: usize) -> Result {
    let Ok(_) = encode::write_map_len(out, length(entries)?);
    Ok(())
}

/// The bytes that [`map_len`] writes.
pub(super) fn map_head(entries: usize) -> usize {
    match entries {
        ..16 => 1,
        16..0x1_0000 => 3,
        _ => 5,
    }
}

pub(super) fn text(out: &mut ByteBuf, text: &str) -> Result {
    let Ok(_) = encode::write_str_len(out, length(text.len())?);
    out.as_mut_vec().extend_from_slice(text.as_bytes());
    Ok(())
}

fn list(out: &mut ByteBuf, items: &[Value], levels: Levels) -> Result {
    let levels = levels.enter()?;
    let Ok(_) = encode::write_array_len(out, length(items.len())?);
    items.iter().try_for_each(|item| value(out, item, levels))
}

/// Lengths have 32 bits.
fn length(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| ValueError::TooLong)
}
