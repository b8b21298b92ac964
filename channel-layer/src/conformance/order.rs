//! Long runs: of a thousand messages, each arrives once and in order.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, group, number_of},
    path::{Kind, Path},
};
use crate::layer::Audience;

/// Enough to find the loss of one message in thirty, whatever its cause, and a queue that overflows.
const RUN: i64 = 1_000;

variants! {
    /// A thousand messages arrive in a mailbox in order.
    a_long_run_arrives = a_long_run(Route::Local, Kind::Mailbox);
    /// A thousand messages arrive in a mailbox of a peer in order.
    a_long_run_arrives_at_a_peer = a_long_run(Route::Peer, Kind::Mailbox);
    /// A thousand messages arrive in a group in order.
    a_long_run_arrives_in_a_group = a_long_run(Route::Local, Kind::Group);
    /// A thousand messages arrive at a group's members in a peer in order.
    long_runs_arrive_in_remote_groups = a_long_run(Route::Peer, Kind::Group);
    /// A thousand messages arrive in a union of groups in order.
    a_long_run_arrives_in_a_union = a_long_run(Route::Local, Kind::Union);
    /// A thousand messages arrive at the members of a union in a peer in order.
    long_runs_arrive_in_remote_unions = a_long_run(Route::Peer, Kind::Union);
    /// A thousand messages arrive on a named channel in order.
    a_long_run_arrives_on_a_name = a_long_run(Route::Local, Kind::Named);
    /// A thousand messages arrive on a named channel that a peer receives from in order.
    long_runs_arrive_on_remote_names = a_long_run(Route::Peer, Kind::Named);
    /// Concurrent calls take effect in the order in which they began.
    concurrent_calls_keep_order = calls_at_once(Route::Local);
    /// Concurrent calls take effect in a peer in the order in which they began.
    concurrent_calls_reach_peers_in_order = calls_at_once(Route::Peer);
}

async fn a_long_run(harness: &dyn Harness, route: Route, kind: Kind) -> Verdict {
    let mut path = Path::open(Fixture::roomy(harness).await, route, kind).await?;
    for number in 0..RUN {
        path.say(number).await;
    }
    path.hears(0..RUN).await;
    Ok(())
}

async fn calls_at_once(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::roomy(harness).await;
    here.requires(|can| can.orders_calls, "orders_calls")?;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let (mut one, mut two) = (there.member_of(&lobby).await, there.member_of(&lobby).await);
    let numbers: Vec<_> = (0..50).collect();
    here.say_at_once(&lobby, &numbers).await;
    there.hears_first(&mut one, numbers.clone()).await;
    there.hears_first(&mut two, numbers).await;
    there.silent([&mut one, &mut two]).await;
    Ok(())
}

/// Messages to one group with a different audience each time keep their order.
pub async fn audiences_share_one_order(harness: &dyn Harness) -> Verdict {
    let here = Fixture::roomy(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    let (mut member, other) = (there.member_of(&lobby).await, here.open().await);
    for number in 0..100 {
        let to = Audience::from(&lobby);
        here.say(if number % 3 == 0 { to.except(other.channel()) } else { to }, number).await;
    }
    there.hears(&mut member, 0..100).await;
    Ok(())
}

/// Two processes send to one group at the same time: the members in one process hear one order, in which the messages
/// of each sender are in theirs.
pub async fn members_share_one_order(harness: &dyn Harness) -> Verdict {
    let here = Fixture::roomy(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    let (mut one, mut two) = (here.member_of(&lobby).await, here.member_of(&lobby).await);
    let run = async |from: &Fixture<'_>, numbers: std::ops::Range<i64>| {
        for number in numbers {
            from.say(&lobby, number).await;
        }
    };
    tokio::join!(run(&here, 0..200), run(&there, 200..400));
    let (mut heard, mut heard_too) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        heard.push(here.take(&mut one).await);
        heard_too.push(number_of(&here.soon(two.recv()).await));
    }
    assert_eq!(heard, heard_too, "both members hear the same order");
    let (first, second): (Vec<_>, Vec<_>) = heard.into_iter().partition(|number| *number < 200);
    assert!(first.is_sorted() && second.is_sorted(), "the order of each sender");
    here.silent([&mut one, &mut two]).await;
    Ok(())
}
