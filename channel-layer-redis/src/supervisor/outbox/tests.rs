use std::{future::Future, pin::pin, sync::Arc, task::Waker};

use futures_util::future::join_all;

use super::*;

fn outbox(most: usize) -> Outbox {
    Outbox::new(most, Duration::from_secs(1))
}

fn publish(outbox: &Outbox, n: u8) -> impl Future<Output = Result<u64, Fault>> + '_ {
    outbox.publish("c".to_owned(), vec![n])
}

/// The first poll of a call, by a task that is never woken.
fn start(call: std::pin::Pin<&mut impl Future<Output = Result<u64, Fault>>>) -> bool {
    call.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn refused() -> Box<Fault> {
    Box::new(Fault::Refused { code: "NOPERM".to_owned(), detail: String::new() })
}

#[tokio::test]
async fn each_caller_gets_the_answer_to_its_own_message() {
    let outbox = outbox(8);
    let calls = join_all((0..3).map(|n| publish(&outbox, n)));
    let answer = async {
        outbox.filled().await;
        let batch = outbox.take().unwrap();
        assert_eq!(batch.bytes, *b"c\0c\x01c\x02", "in the order of the calls");
        batch.publishes.keep(Ok(vec![Ok(1), Err(refused()), Ok(3)]));
    };
    let (counts, ()) = tokio::join!(calls, answer);
    assert_eq!(counts, [Ok(1), Err(*refused()), Ok(3)]);
}

#[tokio::test]
async fn a_message_whose_caller_is_gone_is_sent_all_the_same() {
    let outbox = outbox(8);
    assert!(start(pin!(publish(&outbox, 7))));
    let batch = outbox.take().unwrap();
    assert_eq!((batch.entries.len(), batch.bytes.as_slice()), (1, b"c\x07".as_slice()));
    batch.publishes.keep(Ok(vec![Ok(0)]));
}

#[tokio::test]
async fn a_call_that_moved_to_another_task_is_woken_there() {
    let outbox = Arc::new(outbox(8));
    let shared = outbox.clone();
    let mut call = Box::pin(async move { publish(&shared, 1).await });
    assert!(start(call.as_mut()));
    let task = tokio::spawn(call);
    tokio::task::yield_now().await;
    outbox.take().unwrap().publishes.keep(Ok(vec![Ok(5)]));
    assert_eq!(task.await.unwrap(), Ok(5));
}

#[tokio::test]
async fn batches_are_bounded_and_in_order() {
    let outbox = outbox(2);
    let mut calls: Vec<_> = (0..3).map(|n| Box::pin(publish(&outbox, n))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    for expected in [b"c\0c\x01".as_slice(), b"c\x02"] {
        outbox.filled().await;
        assert_eq!(outbox.take().unwrap().bytes, expected);
    }
    assert!(outbox.take().is_none());
}

#[tokio::test]
async fn who_finds_it_full_waits_for_a_turn() {
    let outbox = outbox(QUEUE);
    let mut calls: Vec<_> = (0..QUEUE).map(|_| Box::pin(publish(&outbox, 1))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    let mut late = pin!(publish(&outbox, 2));
    assert!(start(late.as_mut()));
    assert_eq!(outbox.take().unwrap().entries.len(), QUEUE);
    assert!(outbox.take().is_none(), "it had no room");
    assert!(start(late.as_mut()));
    assert_eq!(outbox.take().unwrap().bytes, b"c\x02");
}

#[tokio::test(start_paused = true)]
async fn who_finds_it_full_for_too_long_is_told_and_nothing_is_sent() {
    let outbox = outbox(QUEUE);
    let mut calls: Vec<_> = (0..QUEUE).map(|_| Box::pin(publish(&outbox, 1))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    assert_eq!(publish(&outbox, 2).await, Err(Fault::Crowded));
    assert_eq!(outbox.queue(Command::new("PING")).await.err(), Some(Fault::Crowded));
    assert_eq!(outbox.take().unwrap().entries.len(), QUEUE);
    assert!(outbox.take().is_none());
    assert!(start(pin!(publish(&outbox, 3))), "there is room again");
}

#[tokio::test]
async fn a_batch_is_bounded_in_bytes_too() {
    let outbox = outbox(8);
    let publish = |bytes| Box::pin(outbox.publish("c".to_owned(), vec![0; bytes]));
    let mut calls = [publish(BYTES / 2), publish(BYTES / 2), publish(1), publish(5 * BYTES), publish(1)];
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    let counts: Vec<_> = std::iter::from_fn(|| outbox.take()).map(|batch| batch.entries.len()).collect();
    assert_eq!(counts, [2, 2, 1], "none is cut, and none waits for a larger one");
}

#[tokio::test]
async fn nobody_waits_for_what_will_not_be_sent() {
    let outbox = outbox(1);
    let mut calls: Vec<_> = (0..2).map(|n| Box::pin(publish(&outbox, n))).collect();
    assert!(calls.iter_mut().all(|call| start(call.as_mut())));
    drop(outbox.take().unwrap()); // its publisher was ended
    outbox.close();
    assert_eq!(join_all(calls).await, [Err(Fault::Closed), Err(Fault::Closed)]);
    assert_eq!(publish(&outbox, 3).await, Err(Fault::Closed));
    assert_eq!(outbox.queue(Command::new("PING")).await.err(), Some(Fault::Closed));
}
