//! Jobs next to the hooks, and requests with replies in both directions.

use std::time::Duration;

use serde_json::{Value, json};
use ws_consumer::{Consumer, Error, Frame, NoEvents, Result, Socket, blocking, consumer, testing::TestApp};

// ---- jobs next to the hooks

/// Handles each frame by a job that takes as many seconds as it says.
struct Jobs;

impl Consumer for Jobs {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let (handle, seconds) = (socket.handle(), frame.text()?.parse::<u64>()?);
        let job = async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            if seconds == 13 {
                return Err(Error::other("unlucky"));
            }
            handle.send(seconds.to_string()).await
        };
        socket.spawn(2, job).await
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_run_up_to_their_limit() {
    let mut client = TestApp::new(consumer(|| Jobs)).websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    let start = tokio::time::Instant::now();
    for seconds in ["5", "1", "3"] {
        client.send_to(seconds).await;
    }
    for (seconds, after) in [("1", 1), ("3", 4), ("5", 5)] {
        assert_eq!(client.receive_from().await, Frame::from(seconds));
        assert_eq!(start.elapsed().as_secs(), after, "the third began when the first had ended");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_job_ends_the_connection() {
    let mut client = TestApp::new(consumer(|| Jobs)).websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    client.send_to("13").await;
    assert_eq!(client.receive_close().await.code, 1011);
}

#[tokio::test]
async fn blocking_code_delays_no_other() {
    assert_eq!(blocking(|| 7).await.unwrap(), 7);
    assert!(
        matches!(blocking(|| panic!("as asked")).await, Err::<(), _>(Error::Panic(text)) if text == "as asked")
    );
}

#[tokio::test(start_paused = true)]
async fn handles_send_from_any_task() {
    let many = |mut socket: Socket| async move {
        socket.accept().await?;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let handle = socket.handle();
                tokio::spawn(async move { handle.send(vec![0; 600 << 10]).await })
            })
            .collect();
        for task in tasks {
            task.await.map_err(Error::other)??;
        }
        socket.handle().close(4001);
        assert!(socket.next().await?.is_none());
        Ok(())
    };
    let mut client = TestApp::new(many).websocket("/");
    client.connect().await.unwrap();
    for _ in 0..8 {
        assert_eq!(client.receive_from().await.len(), 600 << 10);
    }
    assert_eq!(client.receive_close().await.code, 4001);
    client.wait().await.unwrap();
}

// ---- requests with replies

struct Sleeper;

impl Consumer for Sleeper {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let work = |seconds: u64| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            match seconds {
                1 => Err(std::io::Error::other("disk").into()),
                3 => Err(Error::overloaded("no thread is free")),
                _ => Ok(json!({ "slept": seconds })),
            }
        };
        socket.answer(&frame, Duration::from_secs(5), work).await
    }
}

#[tokio::test(start_paused = true)]
async fn answers_requests_by_ref() {
    let mut client = TestApp::new(consumer(|| Sleeper)).websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    for (request, answer) in [
        (json!({ "ref": 7, "request": 2 }), json!({ "ref": 7, "reply": { "slept": 2 } })),
        (json!({ "ref": "a", "request": 9 }), json!({ "ref": "a", "error": "timed out" })),
        (json!({ "request": 2 }), json!({ "error": "missing field `ref` at line 1 column 13" })),
        (json!({ "ref": 9, "request": 1 }), json!({ "ref": 9, "error": "failed" })),
    ] {
        client.send_json_to(&request).await;
        assert_eq!(client.receive_json_from::<Value>().await, answer);
    }
    assert_eq!(client.receive_close().await.code, 1011, "the caller learns why it failed");
    let mut client = TestApp::new(consumer(|| Sleeper)).websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    client.send_json_to(&json!({ "ref": 1, "request": 3 })).await;
    let error = "not done: the server is overloaded at present; try again later";
    assert_eq!(client.receive_json_from::<Value>().await, json!({ "ref": 1, "error": error }));
    assert_eq!(client.receive_close().await.code, 1013);
}

/// Sends a request to the client for every frame.
struct Asking;

impl Consumer for Asking {
    type Event = NoEvents;

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        let name = frame.text()?;
        match socket.request::<_, u32>(&format!("{name}?"), Duration::from_secs(5)).await {
            Ok(reply) => socket.send_text(format!("{name}={reply}")).await,
            Err(error) => socket.send_text(format!("{name}: {error}")).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn server_requests_keep_frame_order() {
    let mut client = TestApp::new(consumer(|| Asking)).websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    client.send_to("a").await;
    client.assert_sent(json!({ "ref": 1, "request": "a?" })).await;
    for _ in 0..100 {
        client.send_to("b").await; // more than wait otherwise
    }
    client.send_json_to(&json!({ "ref": 2, "reply": 0 })).await; // to no question
    client.send_json_to(&json!({ "ref": 1, "reply": 5 })).await;
    assert_eq!(client.receive_from().await, Frame::from("a=5"));
    client.assert_sent(json!({ "ref": 2, "request": "b?" })).await;
    // The answer to a question that has not been asked yet is found first.
    assert_eq!(client.receive_from().await, Frame::from("b=0"));
}

#[tokio::test(start_paused = true)]
async fn unanswered_requests_fail_in_time() {
    let mut client = TestApp::new(consumer(|| Asking)).websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    for (n, (answer, outcome)) in [
        (None, "x: the client did not answer within 5s"),
        (Some(json!({ "error": "no idea" })), "x: no idea"),
        (Some(json!({ "reply": -1 })), "x: invalid value: integer `-1`, expected u32"),
    ]
    .into_iter()
    .enumerate()
    {
        client.send_to("x").await;
        client.assert_sent(json!({ "ref": n + 1, "request": "x?" })).await;
        if let Some(mut answer) = answer {
            answer["ref"] = json!(n + 1);
            client.send_json_to(&answer).await;
        }
        assert_eq!(client.receive_from().await, Frame::from(outcome));
    }
}

/// A late answer to a request of the application in front is a frame to the next one, not the answer to its request.
#[tokio::test(start_paused = true)]
async fn requests_keep_their_numbers_when_handed_on() {
    async fn outer(mut socket: Socket) -> Result<()> {
        socket.accept().await?;
        let late: Result<u32> = socket.request("outer?", Duration::from_secs(5)).await;
        assert!(matches!(late, Err(Error::TimedOut(_))), "{late:?}");
        inner(Socket::from_context(socket.into_context())).await
    }
    async fn inner(mut socket: Socket) -> Result<()> {
        let reply: u32 = socket.request("inner?", Duration::from_secs(5)).await?;
        socket.send_json(&reply).await
    }
    let mut client = TestApp::new(outer).websocket("/").with_patience(Duration::from_secs(60));
    client.connect().await.unwrap();
    client.assert_sent(json!({ "ref": 1, "request": "outer?" })).await;
    client.assert_sent(json!({ "ref": 2, "request": "inner?" })).await;
    client.send_json_to(&json!({ "ref": 1, "reply": 1 })).await;
    client.send_json_to(&json!({ "ref": 2, "reply": 2 })).await;
    client.assert_sent(json!(2)).await;
}
