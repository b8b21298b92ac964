//! The native mode.

#[expect(dead_code, reason = "the layer of this mode moves here next")]
mod named;
