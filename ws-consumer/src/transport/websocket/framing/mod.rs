//! Bytes to messages and back: one reader, which is tungstenite, and two writers.
//!
//! | direction | by | reason |
//! |---|---|---|
//! | read, client's frames | tungstenite, in a [`LazyWebSocket`] | unmasking, fragments, UTF-8 and the size limits are its work |
//! | write, replies to control frames, the close handshake | tungstenite | it knows the state of the handshake |
//! | write, everything else | the task, with the [`encoder`] | tungstenite copies each payload into a buffer that never shrinks, and cannot send bytes that were encoded once for a whole group |
//!
//! Three parts stand around tungstenite:
//!
//! * [`LazyWebSocket`] creates tungstenite's state when bytes arrive and frees it when the client is quiet. It is a third
//!   of what an idle connection would cost.
//! * [`MeteredRead`] reads from the stream into one large buffer per thread, so that the buffer of each connection stays
//!   small.
//! * [`FrameScanner`] follows the frame boundaries of what passes: tungstenite reports whole messages only, neither a
//!   message that has begun nor its number of fragments.
//!
//! Headers are parsed and formatted by tungstenite's `FrameHeader` in both directions.
//!
//! # The two writers
//!
//! Frames must not interleave. Two rules in [`task`](super::task) keep the writers apart:
//!
//! * Bytes of the encoder are written only while tungstenite has none left to write (`control_due` is false), unless one
//!   of the encoder's frames is written in part (`mid_frame`).
//! * Tungstenite is polled only when all bytes of the encoder are written (`unsent` is empty), because it writes pongs
//!   while it reads.
//!
//! # Compression
//!
//! Tungstenite refuses compressed frames. An inflating reader, for permessage-deflate, would stand between [`MeteredRead`]
//! and tungstenite, and hand on each compressed message as one plain frame, within a limit on the inflated size. Deflating
//! is the [`encoder`]'s, once per broadcast.

pub(super) mod encoder;
mod frame_scanner;
mod lazy_websocket;
mod metered_read;

pub(super) use self::lazy_websocket::LazyWebSocket;
#[cfg(doc)]
use self::{frame_scanner::FrameScanner, metered_read::MeteredRead};
