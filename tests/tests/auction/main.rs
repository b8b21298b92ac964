//! The auction in two processes on one Redis, behind nginx, for programs and in a real browser.

mod browser;

use std::time::Duration;

use channels_tests::{Auction, Viewer, post_form};
use serde_json::{Value, json};

/// Longer than the tests take.
const LONG: Duration = Duration::from_secs(3600);
/// The number of lots.
const LOTS: u32 = 4;

#[tokio::test]
async fn bids_reach_both_processes() {
    let auction = Auction::open(LONG).await;
    let [ann, bob] = [auction.log_in("ann").await, auction.log_in("bob").await];
    let [mut ann, mut anns_other] = auction.view(&ann, 1).await;
    let [mut bobs_other, mut bob] = auction.view(&bob, 1).await;
    for viewer in [&mut ann, &mut anns_other, &mut bobs_other, &mut bob] {
        assert_eq!(viewer.next_lot().await["price"], 40);
    }
    for (bids, amount, leader) in [(1, 50, "ann"), (2, 60, "bob"), (3, 70, "ann")] {
        let bidder = if leader == "ann" { &mut ann } else { &mut bob };
        let told = json!([amount, leader, bids]);
        let reply = bidder.bid(amount).await;
        assert_eq!(state(&reply["reply"]), told, "{reply}");
        for viewer in [&mut anns_other, &mut bobs_other] {
            assert_eq!(state(&viewer.next_lot().await), told);
        }
    }
    assert_eq!(bob.bid(70).await["error"], "the next bid is at least 75");
}

#[tokio::test]
async fn one_session_serves_both() {
    let auction = Auction::open(LONG).await;
    let ann = auction.log_in("ann").await;
    assert_eq!(auction.users(&ann).await, ["ann", "ann"]);
    let line = format!("Cookie: {ann}");
    let answer = post_form(auction.address, "/logout", &[&line], "").await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(auction.users(&ann).await, [Value::Null, Value::Null]);
}

#[tokio::test]
async fn unknown_bids_are_refused() {
    let auction = Auction::open(LONG).await;
    for mut stranger in auction.view("", 1).await {
        assert_eq!(stranger.next_lot().await["bids"], 0);
        assert_eq!(stranger.bid(50).await["error"], "log in to bid");
    }
    let ann = auction.log_in("ann").await;
    for _process in 0..2 {
        assert_eq!(Viewer::open(auction.address, &ann, LOTS + 1).await.err(), Some(404));
    }
    for mut viewer in auction.view(&ann, 1).await {
        assert_eq!(viewer.next_lot().await["bids"], 0, "no bid was taken");
    }
}

#[tokio::test]
async fn countdown_ends_a_lot_for_all() {
    let auction = Auction::open(Duration::from_secs(3)).await;
    let ann = auction.log_in("ann").await;
    for lot in 1..=LOTS {
        let mut viewers = auction.view(&ann, lot).await;
        if ends_for_all(&mut viewers).await {
            for viewer in &mut viewers {
                assert_eq!(viewer.bid(500).await["error"], "the lot is closed");
            }
            return;
        }
    }
    panic!("each lot was over before it was viewed");
}

/// Waits for the end of a lot. False if it was over for a viewer from the beginning.
async fn ends_for_all(viewers: &mut [Viewer; 2]) -> bool {
    for viewer in &mut *viewers {
        if viewer.next_lot().await["is_over"] == true {
            return false;
        }
    }
    for viewer in viewers {
        let mut seconds = Vec::new();
        loop {
            let frame = viewer.next().await;
            match frame["type"].as_str() {
                Some("countdown") => seconds.extend(frame["seconds"].as_u64()),
                Some("changed") => {
                    assert_eq!((&frame["lot"]["is_over"], &frame["lot"]["bids"]), (&json!(true), &json!(0)));
                    break;
                }
                _ => assert_eq!(frame["type"], "joined"),
            }
        }
        assert!(!seconds.is_empty() && seconds.is_sorted_by(|a, b| a > b), "{seconds:?}");
    }
    true
}

fn state(lot: &Value) -> Value {
    json!([lot["price"], lot["leader"], lot["bids"]])
}
