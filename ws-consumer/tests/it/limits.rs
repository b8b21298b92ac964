//! The treatment of a message over a limit, and of its connection: answered, slowed down or closed.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are a part of it")]

use std::{sync::Arc, time::Duration};

use channel_layer::MemoryLayer;
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use ws_consumer::{
    Close, Limits, Resume,
    middleware::{Guard, Limiter, OverLimit, Rate},
};

use crate::support::{
    Server, echo,
    sessions::{ALL, Heard, SessionClient},
};

/// Two at once, and then ten per second.
fn limiter(over: OverLimit) -> Limiter {
    Limiter::new().messages_per_connection(Rate::per_second(10).burst(2)).over_limit(over)
}

fn server(limiter: Limiter) -> Server {
    let layer = Arc::new(MemoryLayer::default());
    Server::with_sessions(limiter.around(echo), &layer, Resume::default(), Limits::default())
}

async fn close_of(limiter: Limiter, frames: &[&str]) -> (u16, String) {
    let mut client = server(limiter).connect("/").await;
    for frame in frames {
        client.send(frame).await;
    }
    let close = client.close_frame().await.unwrap();
    (close.code.into(), close.reason.as_str().to_owned())
}

#[tokio::test(start_paused = true)]
async fn limit_closes_allow_reconnects() {
    let rate = || Limiter::new().messages_per_connection(Rate::per_minute(1));
    let bytes = || Limiter::new().bytes_per_connection(Rate::per_minute(1));
    let long = || Limiter::new().bytes_per_connection(Rate::per_second(10));
    let (long_frame, later) = ("x".repeat(100), Close::TRY_AGAIN_LATER);
    for (limiter, frames, code, reason) in [
        (rate(), vec!["a", "b"], later, "too many messages"),
        (bytes(), vec!["ab"], later, "too many bytes"),
        (rate().close_code(4029), vec!["a", "b"], 4029, "too many messages"),
        (rate().over_limit(OverLimit::Close(1008)), vec!["a", "b"], 1008, "too many messages"),
        (rate().over_limit(OverLimit::SlowDown), vec!["a", "b"], later, "too many messages"),
        (long().over_limit(OverLimit::SlowDown), vec![&long_frame], later, "too many bytes"),
    ] {
        assert_eq!(close_of(limiter, &frames).await, (code, reason.to_owned()));
    }
    for transport in ALL {
        let server = server(rate());
        let mut client = SessionClient::connected(&server.service, "/", transport).await;
        client.send("a").await;
        assert_eq!(client.text().await, "a", "{transport:?}");
        client.send("b").await;
        let close = Heard::Close(Close::TRY_AGAIN_LATER, "too many messages".to_owned());
        assert_eq!(client.next().await.unwrap(), close, "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_frames_get_an_answer() {
    for transport in ALL {
        let server = server(limiter(OverLimit::Answer));
        let mut client = SessionClient::connected(&server.service, "/", transport).await;
        for text in ["a", "b", r#"{"ref": 7, "request": "c"}"#] {
            client.send(text).await;
        }
        let heard = [client.text().await, client.text().await, client.text().await];
        // It may overtake what is still to be handled.
        let (answers, echoes): (Vec<_>, Vec<_>) = heard.iter().partition(|text| text.starts_with('{'));
        assert_eq!((answers.len(), echoes[0].as_str(), echoes[1].as_str()), (1, "a", "b"), "{transport:?}");
        let answer: Value = serde_json::from_str(answers[0]).unwrap();
        assert_eq!((&answer["ref"], &answer["error"]), (&json!(7), &json!("too many messages")));
        let retry_after = answer["retry_after"].as_f64().unwrap();
        assert!(retry_after > 0.0 && retry_after <= 0.1, "{transport:?}: {answer}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.send("d").await;
        assert_eq!(client.text().await, "d", "{transport:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn slowed_clients_lose_nothing() {
    let server = server(limiter(OverLimit::SlowDown));
    let mut client = server.connect("/").await;
    let began = Instant::now();
    for number in 0..32 {
        client.send(&number.to_string()).await;
    }
    for number in 0..32 {
        assert_eq!(client.text().await, number.to_string());
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2900) && took < Duration::from_millis(3200), "{took:?}");
    client.leave().await;
    for transport in ALL {
        let mut client = SessionClient::connected(&server.service, "/", transport).await;
        let began = Instant::now();
        for number in 0..12 {
            client.send(number.to_string()).await;
        }
        for number in 0..12 {
            assert_eq!(client.text().await, number.to_string(), "{transport:?}");
        }
        assert!(began.elapsed() >= Duration::from_millis(900), "{transport:?}: {:?}", began.elapsed());
    }
}

/// All connections of a user share one limit.
#[tokio::test(start_paused = true)]
async fn longest_pause_wins() {
    let slow = |rate| Limiter::new().messages_per_connection(rate).over_limit(OverLimit::SlowDown);
    let limits = slow(Rate::per_second(1)).and(slow(Rate::per_second(100))).and(slow(Rate::per_second(2)));
    let layer = Arc::new(MemoryLayer::default());
    let server = Server::with_sessions(limits.around(echo), &layer, Resume::default(), Limits::default());
    let mut client = server.connect("/").await;
    let began = Instant::now();
    for number in 0..4 {
        client.send(&number.to_string()).await;
    }
    for number in 0..4 {
        assert_eq!(client.text().await, number.to_string());
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Its pings are not answered while it is paused, and the server does not take it for dead either.
#[tokio::test(start_paused = true)]
async fn clients_may_leave_in_a_pause() {
    let server = server(limiter(OverLimit::SlowDown));
    let mut client = server.connect("/").await;
    for number in 0..12 {
        client.send(&number.to_string()).await;
    }
    drop(client);
    let began = Instant::now();
    while !server.service.connections().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn unread_answers_end_a_flood() {
    let limits = Limiter::new().messages_per_connection(Rate::per_minute(1)).over_limit(OverLimit::Answer);
    let server = server(limits);
    let mut client = server.connect("/").await;
    let flood = async {
        loop {
            if client.socket.send(Message::text("x")).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flood).await.expect("the connection ends");
    while !server.service.connections().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.service.connections().stats().closed_slow, 1);
}
