//! A reader of MessagePack from untrusted sources.

use rmp::Marker;

use super::super::{DecodeError, Map, Value, depth::Levels};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads a map and requires the end after it.
pub(super) fn map(bytes: &[u8]) -> Result<Map> {
    let mut reader = MsgpackReader { rest: bytes, due: 1 };
    let marker = reader.marker()?;
    let Some(len) = reader.map_len(marker)? else {
        return Err(match reader.kind(marker) {
            Ok(found) => DecodeError::NotAMap { found },
            Err(error) => error,
        });
    };
    let map = reader.entries(len, Levels::ALL)?;
    match reader.rest.len() {
        0 => Ok(map),
        len => Err(DecodeError::TrailingBytes { len }),
    }
}

struct MsgpackReader<'a> {
    rest: &'a [u8],
    /// The number of values that the open lists and maps still need. Each takes at least one byte, so no more than the
    /// input's length can be due. This bounds the memory that is reserved for all open levels together.
    due: usize,
}

impl<'a> MsgpackReader<'a> {
    fn value(&mut self, levels: Levels) -> Result<Value> {
        let marker = self.marker()?;
        let value = match marker {
            Marker::Null => Value::Null,
            Marker::False => Value::Bool(false),
            Marker::True => Value::Bool(true),
            Marker::FixPos(value) => Value::I64(value.into()),
            Marker::FixNeg(value) => Value::I64(value.into()),
            Marker::U8 => Value::I64(self.uint::<1>()? as i64),
            Marker::U16 => Value::I64(self.uint::<2>()? as i64),
            Marker::U32 => Value::I64(self.uint::<4>()? as i64),
            Marker::U64 => Value::from(self.uint::<8>()?),
            Marker::I8 => Value::I64(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Value::I64(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Value::I64(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Value::I64(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Value::F64(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Value::F64(f64::from_be_bytes(self.array()?)),
            Marker::Bin8 => Value::Bytes(self.sized::<1>()?.to_vec()),
            Marker::Bin16 => Value::Bytes(self.sized::<2>()?.to_vec()),
            Marker::Bin32 => Value::Bytes(self.sized::<4>()?.to_vec()),
            _ => return self.text_or_container(marker, levels),
        };
        Ok(value)
    }

    fn text_or_container(&mut self, marker: Marker, levels: Levels) -> Result<Value> {
        if let Some(text) = self.text(marker)? {
            return Ok(Value::Str(text));
        }
        if let Some(len) = self.map_len(marker)? {
            return self.entries(len, levels).map(Value::Map);
        }
        let len = match marker {
            Marker::FixArray(len) => len.into(),
            Marker::Array16 => self.length::<2>()?,
            Marker::Array32 => self.length::<4>()?,
            _ => return Err(self.unsupported(marker)),
        };
        self.items(len, levels).map(Value::List)
    }

    fn items(&mut self, len: usize, levels: Levels) -> Result<Vec<Value>> {
        let levels = enter(levels)?;
        self.announce(len, 1)?;
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.value(levels)?);
        }
        Ok(items)
    }

    fn entries(&mut self, len: usize, levels: Levels) -> Result<Map> {
        let levels = enter(levels)?;
        self.announce(len, 2)?;
        let mut map = Map::with_capacity(len);
        for _ in 0..len {
            let key = self.key()?;
            map.insert(key, self.value(levels)?);
        }
        Ok(map)
    }

    fn key(&mut self) -> Result<String> {
        let marker = self.marker()?;
        match self.text(marker)? {
            Some(key) => Ok(key),
            None => Err(match self.kind(marker) {
                Ok(found) => DecodeError::KeyNotAString { found },
                Err(error) => error,
            }),
        }
    }

    /// Reads a text. `None` if the marker is not one of text.
    fn text(&mut self, marker: Marker) -> Result<Option<String>> {
        let bytes = match marker {
            Marker::FixStr(len) => self.take(len.into())?,
            Marker::Str8 => self.sized::<1>()?,
            Marker::Str16 => self.sized::<2>()?,
            Marker::Str32 => self.sized::<4>()?,
            _ => return Ok(None),
        };
        let text = str::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8)?;
        Ok(Some(text.to_owned()))
    }

    /// Reads the length of a map. `None` if the marker is not one of a map.
    fn map_len(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixMap(len) => len.into(),
            Marker::Map16 => self.length::<2>()?,
            Marker::Map32 => self.length::<4>()?,
            _ => return Ok(None),
        }))
    }

    /// Notes that this number of items, each of this number of values, was announced.
    fn announce(&mut self, items: usize, values: usize) -> Result<()> {
        let due = items.checked_mul(values).and_then(|more| more.checked_add(self.due));
        self.due = due.filter(|due| *due <= self.rest.len()).ok_or(DecodeError::Truncated)?;
        Ok(())
    }

    fn marker(&mut self) -> Result<Marker> {
        self.due = self.due.saturating_sub(1);
        Ok(Marker::from_u8(self.array::<1>()?[0]))
    }

    fn kind(&mut self, marker: Marker) -> Result<&'static str> {
        Ok(match marker {
            Marker::Null => "null",
            Marker::False | Marker::True => "boolean",
            Marker::F32 | Marker::F64 => "float",
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "string",
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "bytes",
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "list",
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "map",
            Marker::FixPos(_) | Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => "integer",
            Marker::FixNeg(_) | Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => "integer",
            _ => return Err(self.unsupported(marker)),
        })
    }

    /// The error for a marker of an extension type, or of none.
    fn unsupported(&mut self, marker: Marker) -> DecodeError {
        let length = match marker {
            Marker::Reserved => return DecodeError::Reserved,
            Marker::Ext8 => 1,
            Marker::Ext16 => 2,
            Marker::Ext32 => 4,
            _ => 0,
        };
        match self.rest.get(length) {
            Some(kind) => DecodeError::Extension { kind: kind.cast_signed() },
            None => DecodeError::Truncated,
        }
    }

    /// Reads a length of `WIDTH` bytes, and returns the bytes after it.
    fn sized<const WIDTH: usize>(&mut self) -> Result<&'a [u8]> {
        let len = self.length::<WIDTH>()?;
        self.take(len)
    }

    fn length<const WIDTH: usize>(&mut self) -> Result<usize> {
        usize::try_from(self.uint::<WIDTH>()?).map_err(|_| DecodeError::Truncated)
    }

    fn uint<const WIDTH: usize>(&mut self) -> Result<u64> {
        Ok(self.array::<WIDTH>()?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn enter(levels: Levels) -> Result<Levels> {
    levels.enter().map_err(|_| DecodeError::TooDeep)
}
