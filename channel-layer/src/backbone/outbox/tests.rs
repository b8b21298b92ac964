use std::{future::Future, pin::Pin, pin::pin, sync::Arc, task::Waker};

use futures_util::future::join_all;

use super::*;

type Published = Result<Option<usize>, LinkError>;

fn outbox(most: usize) -> Outbox {
    Outbox::new(most, Duration::from_secs(1))
}

async fn publish(outbox: &Outbox, n: u8) -> Published {
    outbox.publish("c", &[n]).await
}

/// The first poll of a call, by a task that is never woken.
fn start(call: Pin<&mut impl Future<Output = Published>>) -> bool {
    call.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn payloads(outgoing: &Outgoing) -> Vec<u8> {
    outgoing.batch.iter().flat_map(|(_, payload)| payload.to_vec()).collect()
}

#[tokio::test]
async fn each_caller_gets_its_answer() {
    let outbox = outbox(8);
    let calls = join_all((0..3).map(|n| publish(&outbox, n)));
    let answer = async {
        outbox.filled().await;
        let outgoing = outbox.take().unwrap();
        assert_eq!(payloads(&outgoing), [0, 1, 2], "in the order of the calls");
        outgoing.promise.resolve(Ok(vec![Ok(Some(1)), Err(LinkError::Down), Ok(None)]));
    };
    let (counts, ()) = tokio::join!(calls, answer);
    assert!(matches!(&counts[..], [Ok(Some(1)), Err(LinkError::Down), Ok(None)]), "{counts:?}");
}

#[tokio::test]
async fn dropped_calls_are_still_sent() {
    let outbox = outbox(8);
    assert!(start(pin!(publish(&outbox, 7))));
    let outgoing = outbox.take().unwrap();
    assert_eq!(payloads(&outgoing), [7]);
    outgoing.promise.resolve(Ok(vec![Ok(Some(0))]));
}

#[tokio::test]
async fn wakes_the_latest_task() {
    let outbox = Arc::new(outbox(8));
    let shared = outbox.clone();
    let mut call = Box::pin(async move { publish(&shared, 1).await });
    assert!(start(call.as_mut()));
    let task = tokio::spawn(call);
    tokio::task::yield_now().await;
    outbox.take().unwrap().promise.resolve(Ok(vec![Ok(Some(5))]));
    assert!(matches!(task.await.unwrap(), Ok(Some(5))));
}

#[tokio::test]
async fn batches_are_bounded() {
    let outbox = outbox(2);
    let mut calls: Vec<_> = (0..3).map(|n| Box::pin(publish(&outbox, n))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    for expected in [&[0, 1][..], &[2]] {
        outbox.filled().await;
        assert_eq!(payloads(&outbox.take().unwrap()), expected);
    }
    assert!(outbox.take().is_none());
}

#[tokio::test]
async fn waits_while_full() {
    let outbox = outbox(QUEUE);
    let mut calls: Vec<_> = (0..QUEUE).map(|_| Box::pin(publish(&outbox, 1))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    let mut late = pin!(publish(&outbox, 2));
    assert!(start(late.as_mut()));
    assert_eq!(outbox.take().unwrap().batch.len(), QUEUE);
    assert!(outbox.take().is_none(), "it was full");
    assert!(start(late.as_mut()));
    assert_eq!(payloads(&outbox.take().unwrap()), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_times_out() {
    let outbox = outbox(QUEUE);
    let mut calls: Vec<_> = (0..QUEUE).map(|_| Box::pin(publish(&outbox, 1))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    assert!(matches!(publish(&outbox, 2).await, Err(LinkError::QueueFull)));
    assert_eq!(outbox.take().unwrap().batch.len(), QUEUE);
    assert!(outbox.take().is_none());
    assert!(start(pin!(publish(&outbox, 3))), "there is a free slot again");
}

#[tokio::test]
async fn batches_are_bounded_in_bytes() {
    let outbox = outbox(8);
    let payloads = [BYTES / 2, BYTES / 2, 1, 5 * BYTES, 1].map(|bytes| vec![0; bytes]);
    let mut calls: Vec<_> = payloads.iter().map(|payload| Box::pin(outbox.publish("c", payload))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    let counts: Vec<_> = std::iter::from_fn(|| outbox.take()).map(|outgoing| outgoing.batch.len()).collect();
    assert_eq!(counts, [2, 2, 1], "no message is cut, and none waits for a larger one");
}

#[tokio::test]
async fn closing_answers_every_caller() {
    let outbox = outbox(1);
    let mut calls: Vec<_> = (0..2).map(|n| Box::pin(publish(&outbox, n))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    drop(outbox.take().unwrap()); // its publisher was ended
    outbox.close();
    for outcome in join_all(calls).await {
        assert!(matches!(outcome, Err(LinkError::Closed)));
    }
    assert!(matches!(publish(&outbox, 3).await, Err(LinkError::Closed)));
}
