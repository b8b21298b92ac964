//! The treatment of messages over a limit.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    frame::{Close, Frame},
    wire::Verdict,
};

/// The longest pause. Pings wait as well, and the JavaScript client gives up a server that does not answer one within 10 s.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest message in which the number of a request is looked up: parsing costs time, and the limit is exceeded already.
const SEARCHED: usize = 16 << 10;

/// The treatment of a message over a [`Limiter`](super::Limiter)'s rate, and of its connection.
///
/// A plain HTTP request is refused with 429 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverLimit {
    /// The message is dropped and answered with `{"error": "too many messages", "retry_after": 0.5}`, in seconds, and with
    /// the `ref` of a [request](crate::Socket::answer). The answer may overtake answers to earlier messages. The connection
    /// stays open.
    Answer,
    /// The connection is closed with this code, by default [1013](Close::TRY_AGAIN_LATER), after which clients reconnect
    /// later. The JavaScript client does so with a growing pause; 1000, 1008 and all codes from 4000 on are final for it.
    Close(u16),
    /// The message is handled, and the connection reads no further until the rate allows it, which puts back-pressure on the
    /// client. If the pause would exceed 5 s, the connection is closed with 1013 instead.
    SlowDown,
}

impl Default for OverLimit {
    fn default() -> Self {
        Self::Close(Close::TRY_AGAIN_LATER)
    }
}

/// The limit that was exceeded, and the time until the rate allows the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateExcess {
    pub(super) what: &'static str,
    pub(super) nanoseconds: u64,
}

impl RateExcess {
    pub(super) fn seconds(self) -> u64 {
        self.nanoseconds.div_ceil(1_000_000_000)
    }

    /// Returns the treatment of a frame over the limit.
    pub(super) fn verdict(self, rule: OverLimit, frame: &Frame) -> Verdict {
        match rule {
            OverLimit::Answer => Verdict::Answer(self.answer(frame)),
            OverLimit::Close(code) => Verdict::Close(Close::new(code, self.what)),
            OverLimit::SlowDown => match Duration::from_nanos(self.nanoseconds) {
                pause if pause > LONGEST_PAUSE => {
                    Verdict::Close(Close::new(Close::TRY_AGAIN_LATER, self.what))
                }
                pause => Verdict::Pause(pause),
            },
        }
    }

    fn answer(self, frame: &Frame) -> Frame {
        let milliseconds = self.nanoseconds.div_ceil(1_000_000).min(u32::MAX.into());
        let retry_after = f64::from(u32::try_from(milliseconds).unwrap_or(u32::MAX)) / 1000.0;
        let answer = OverLimitAnswer { r#ref: ref_of(frame), error: self.what, retry_after };
        Frame::from_json(&answer).unwrap_or_else(|_| Frame::from(self.what))
    }
}

#[derive(Serialize)]
struct OverLimitAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<RequestRef>,
    error: &'static str,
    retry_after: f64,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum RequestRef {
    Number(u64),
    Text(String),
}

/// The part of a request that is read. A reply has a `ref` too, but that of a request by the server.
#[derive(Deserialize)]
struct RequestHeader {
    r#ref: RequestRef,
    #[serde(rename = "request")]
    _request: IgnoredAny,
}

fn ref_of(frame: &Frame) -> Option<RequestRef> {
    let text = frame.text().ok().filter(|text| text.len() <= SEARCHED && text.contains("\"ref\""))?;
    Some(serde_json::from_str::<RequestHeader>(text).ok()?.r#ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCESS: RateExcess = RateExcess { what: "too many messages", nanoseconds: 1_250_000_001 };

    #[test]
    fn answers_name_the_request() {
        for (frame, answer) in [
            ("x", r#"{"error":"too many messages","retry_after":1.251}"#),
            (r#"{"ref":7,"request":[1]}"#, r#"{"ref":7,"error":"too many messages","retry_after":1.251}"#),
            (r#"{"request":{},"ref":"a"}"#, r#"{"ref":"a","error":"too many messages","retry_after":1.251}"#),
            (r#"{"ref":7,"reply":1}"#, r#"{"error":"too many messages","retry_after":1.251}"#),
            (r#"{"ref":7,"reque"#, r#"{"error":"too many messages","retry_after":1.251}"#),
        ] {
            assert_eq!(EXCESS.verdict(OverLimit::Answer, &frame.into()), Verdict::Answer(answer.into()));
        }
        let never = RateExcess { nanoseconds: u64::MAX, ..EXCESS };
        assert!(matches!(never.verdict(OverLimit::Answer, &b"x".to_vec().into()), Verdict::Answer(_)));
    }

    #[test]
    fn pauses_are_bounded() {
        let rule =
            |nanoseconds| RateExcess { nanoseconds, ..EXCESS }.verdict(OverLimit::SlowDown, &"x".into());
        assert_eq!(rule(5), Verdict::Pause(Duration::from_nanos(5)));
        assert_eq!(rule(5_000_000_001), Verdict::Close(Close::new(1013, "too many messages")));
        assert_eq!(rule(u64::MAX), Verdict::Close(Close::new(1013, "too many messages")));
    }
}
