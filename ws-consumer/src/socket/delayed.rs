//! Events that a connection sends to itself later.

use std::time::Duration;

use channel_layer::Message;
use serde::Serialize;

#[cfg(doc)]
use super::timers::TimerError;
use super::{context::Context, groups::usable, timers::TimerId};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;

/// Timers, which send events to the connection itself.
///
/// An event that is due is handled by the connection's own [`event`](crate::Consumer::event) hook, as if it had come to the
/// connection's channel: no channel is opened, and no other process or connection takes part. Timers end with the connection,
/// and go on while the client of a [session](crate::Protocols::resume) is away. They read tokio's clock, which tests pause.
///
/// Hooks run one at a time, so an event that falls due during a hook waits for its end. Events of timers are handled in the order of
/// their times, in turn with frames and other events: neither delays the other by more than one hook. A timer that is
/// cancelled has no effect afterwards, even if it was due.
impl Context {
    /// Sends `event` to this connection once, after `delay`.
    ///
    /// With a delay of zero it is handled after the present hook. A delay beyond the clock's range is about 30 years.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use serde::{Deserialize, Serialize};
    /// # use ws_consumer::{Close, Consumer, Frame, Result, Socket};
    /// # #[derive(Serialize, Deserialize)] #[serde(tag = "type")]
    /// # enum Turn { #[serde(rename = "turn.over")] Over }
    /// # struct Player;
    /// impl Consumer for Player {
    ///     type Event = Turn;
    ///
    ///     async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
    ///         socket.send_after(Duration::from_secs(30), &Turn::Over)?;
    ///         socket.send(frame).await
    ///     }
    ///     async fn event(&mut self, socket: &mut Socket, event: &Turn) -> Result<()> {
    ///         let Turn::Over = event;
    ///         socket.close(Close::new(4000, "too late")).await
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Misuse`](Error::Misuse) for an event that is no map; [`TimerError::TooMany`] in an [`Other`](Error::Other).
    #[track_caller]
    pub fn send_after<T>(&mut self, delay: Duration, event: &T) -> Result<TimerId>
    where
        T: Serialize + ?Sized,
    {
        let message = usable("send_after", Message::encode(event))?;
        self.insert_timer(delay, None, message)
    }

    /// Sends `event` to this connection once every `period`, first after one period.
    ///
    /// Ticks keep to multiples of the period. Ticks that fall due while a hook runs are one event: those that were missed are
    /// skipped, never made up for.
    ///
    /// # Errors
    /// Those of [`send_after`](Self::send_after); [`TimerError::ZeroPeriod`] in an [`Other`](Error::Other).
    #[track_caller]
    pub fn every<T>(&mut self, period: Duration, event: &T) -> Result<TimerId>
    where
        T: Serialize + ?Sized,
    {
        let message = usable("every", Message::encode(event))?;
        self.insert_timer(period, Some(period), message)
    }

    /// Cancels a timer of this connection. Returns whether it was still to fire.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.timers.as_mut().is_some_and(|timers| timers.cancel(timer))
    }

    fn insert_timer(
        &mut self,
        delay: Duration,
        period: Option<Duration>,
        message: Message,
    ) -> Result<TimerId> {
        self.timers.get_or_insert_default().insert(delay, period, message)
    }
}
