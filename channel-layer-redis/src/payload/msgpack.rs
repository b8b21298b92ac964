//! msgpack as Python's `msgpack.unpackb` reads it: a text that is no UTF-8 is an error, and so is what follows.

use channel_layer::Map;
use rmp::Marker;
use serde::Deserialize;

use crate::codec::CodecError;

/// Reads a map and nothing behind it.
pub(super) fn map(bytes: &[u8]) -> Result<Map, CodecError> {
    if !has_whole_texts(bytes) {
        return Err(CodecError::Msgpack);
    }
    let mut rest = bytes;
    let read = Map::deserialize(&mut rmp_serde::Deserializer::new(&mut rest));
    match read {
        Ok(map) if rest.is_empty() => Ok(map),
        _ => Err(CodecError::Msgpack),
    }
}

/// Returns whether every text is UTF-8. The deserializer returns any other text as bytes, which is another
/// type of value.
///
/// Lists and maps are only headers before their items, so a flat scan is enough.
fn has_whole_texts(mut bytes: &[u8]) -> bool {
    while let Some((first, rest)) = bytes.split_first() {
        let length = |width: usize| {
            let digits = rest.get(..width)?;
            Some((digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), width))
        };
        let sized = match Marker::from_u8(*first) {
            Marker::FixStr(length) => Some((length.into(), 0)),
            Marker::Str8 | Marker::Bin8 | Marker::Ext8 => length(1),
            Marker::Str16 | Marker::Bin16 | Marker::Ext16 => length(2),
            Marker::Str32 | Marker::Bin32 | Marker::Ext32 => length(4),
            Marker::U8 | Marker::I8 => Some((1, 0)),
            Marker::U16 | Marker::I16 | Marker::Array16 | Marker::Map16 | Marker::FixExt1 => Some((2, 0)),
            Marker::FixExt2 => Some((3, 0)),
            Marker::U32 | Marker::I32 | Marker::F32 | Marker::Array32 | Marker::Map32 => Some((4, 0)),
            Marker::FixExt4 => Some((5, 0)),
            Marker::U64 | Marker::I64 | Marker::F64 => Some((8, 0)),
            Marker::FixExt8 => Some((9, 0)),
            Marker::FixExt16 => Some((17, 0)),
            _ => Some((0, 0)),
        };
        let is_ext = matches!(Marker::from_u8(*first), Marker::Ext8 | Marker::Ext16 | Marker::Ext32);
        let is_text = matches!(
            Marker::from_u8(*first),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32
        );
        let Some((content, behind)) = sized
            .and_then(|(length, header)| rest.get(header..)?.split_at_checked(length + usize::from(is_ext)))
        else {
            return false;
        };
        if is_text && str::from_utf8(content).is_err() {
            return false;
        }
        bytes = behind;
    }
    true
}
