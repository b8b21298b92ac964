//! Outages: the backend is severed or frozen for a while, and keeps its state.

use std::{ops::RangeInclusive, time::Duration};

use tokio::time::Instant;

use super::{
    Harness, Skip, Verdict,
    fixture::{Fault, Fixture, Route, channel, group, number_of, numbered},
};
use crate::{
    error::Error,
    events::{LayerEvent, LayerEvents},
    layer::{Audience, ChannelLayer},
};

variants! {
    /// A severed backend raises one `Disconnected`, and one `Reconnected` whose gap covers the outage.
    a_severance_is_reported_once = reported_once(Fault::Sever);
    /// A frozen backend raises one `Disconnected`, and one `Reconnected` whose gap covers the outage.
    a_freeze_is_reported_once = reported_once(Fault::Freeze);
    /// Calls to a severed backend fail at once and have no effect, now or later.
    calls_fail_while_severed = calls_fail(Fault::Sever);
    /// Calls to a frozen backend fail at once and have no effect, now or later.
    calls_fail_while_frozen = calls_fail(Fault::Freeze);
    /// Calls before the layer detects a severance do not hang, and no message arrives twice.
    calls_end_before_a_severance_is_seen = calls_end(Fault::Sever);
    /// Calls before the layer detects a freeze do not hang, and no message arrives twice.
    calls_end_before_a_freeze_is_seen = calls_end(Fault::Freeze);
    /// Members remain members after a severance, and receive each message of both processes once.
    members_survive_a_severance = members_stay(Fault::Sever);
    /// Members remain members after a freeze, and receive each message of both processes once.
    members_survive_a_freeze = members_stay(Fault::Freeze);
    /// Opening, joining and leaving during a severance take effect by the time the layer reports its end.
    members_change_while_severed = come_and_go(Fault::Sever);
    /// Opening, joining and leaving during a freeze take effect by the time the layer reports its end.
    members_change_while_frozen = come_and_go(Fault::Freeze);
    /// A `receive` continues after a severance.
    receivers_survive_a_severance = receiver_stays(Fault::Sever);
    /// A `receive` continues after a freeze.
    receivers_survive_a_freeze = receiver_stays(Fault::Freeze);
    /// Closing a layer while the backend is severed ends all waits.
    a_severed_layer_closes = closes(Fault::Sever);
    /// Closing a layer while the backend is frozen ends all waits.
    a_frozen_layer_closes = closes(Fault::Freeze);
}

/// The length of an outage after the layer has noticed it.
const OUTAGE: Duration = Duration::from_millis(300);

async fn reported_once(harness: &dyn Harness, fault: Fault) -> Verdict {
    let here = Fixture::new(harness).await;
    let mut events = here.layer.events();
    here.disrupt(fault).await?;
    let began = Instant::now();
    assert_eq!(here.event(&mut events).await, Some(LayerEvent::Disconnected));
    here.elapse(OUTAGE).await;
    assert!(here.is_away());
    here.no_event(&mut events).await;
    let outage = began.elapsed();
    here.mend().await;
    check_gap(here.event(&mut events).await, outage);
    assert!(!here.is_away());
    here.soon(here.layer.health()).await.expect("it works again");
    here.no_event(&mut events).await;
    Ok(())
}

fn check_gap(event: Option<LayerEvent>, outage: Duration) {
    match event {
        // Allows for the delay of the scheduler between a fault and its detection.
        Some(LayerEvent::Reconnected { gap }) => {
            assert!(gap + Duration::from_millis(50) >= outage, "{gap:?} does not cover {outage:?}");
            assert!(gap < outage + Duration::from_secs(30), "{gap:?} for {outage:?}");
        }
        other => panic!("the backend is back, and the event is {other:?}"),
    }
}

async fn calls_fail(harness: &dyn Harness, fault: Fault) -> Verdict {
    let here = Fixture::new(harness).await;
    let (lobby, hall, jobs) = (group("lobby"), group("hall"), channel("jobs"));
    let mut mailbox = here.member_of(&lobby).await;
    here.join(&hall, mailbox.channel()).await;
    begin(&here, fault).await?;
    let layer = &here.layer;
    for _ in 0..3 {
        is_unavailable("group_send", here.try_group_send(&lobby, 1).await.err());
        let union = Audience::from(&lobby).and(&hall);
        is_unavailable("group_send to a union", here.try_group_send(union, 1).await.err());
        let others = Audience::from(&lobby).except(mailbox.channel());
        is_unavailable("group_send but for one", here.try_group_send(others, 1).await.err());
        is_unavailable("send", here.try_send(&jobs, 1).await.err());
        is_unavailable("health", here.soon(layer.health()).await.err());
        if layer.capabilities().global_flush {
            is_unavailable("flush", here.soon(layer.flush()).await.err());
        }
    }
    here.silent([&mut mailbox]).await;
    here.say(Audience::from(&lobby).local_only(), 2).await;
    here.send(mailbox.channel(), 3).await;
    assert_eq!(here.take_sorted(&mut mailbox, 2).await, [2, 3]);
    end(&here).await;
    here.silent([&mut mailbox]).await;
    here.say(&lobby, 4).await;
    here.hears(&mut mailbox, [4]).await;
    here.receives_nothing(&jobs).await;
    Ok(())
}

fn is_unavailable(what: &str, error: Option<Error>) {
    let is = matches!(error, Some(Error::Unavailable(_)));
    assert!(is, "{what} while the backend is away returns {error:?}");
}

/// Allows calls before the detection to succeed, to be uncertain or to be refused.
async fn calls_end(harness: &dyn Harness, fault: Fault) -> Verdict {
    let here = Fixture::new(harness).await;
    let lobby = group("lobby");
    let mut mailbox = here.member_of(&lobby).await;
    here.disrupt(fault).await?;
    let mut refused = Vec::new();
    let mut number = 0;
    while number < 3 || !here.is_away() {
        match here.try_group_send(&lobby, number).await {
            Err(Error::Unavailable(_)) => refused.push(number),
            Err(error) => assert!(error.is_uncertain(), "{error:?}"),
            Ok(_) => {}
        }
        let joined =
            here.soon(here.layer.group_add(&group(&format!("room-{number}")), mailbox.channel())).await;
        assert!(joined.as_ref().err().is_none_or(Error::is_outage), "{joined:?}");
        number += 1;
        here.elapse(Duration::from_millis(1)).await;
    }
    end(&here).await;
    here.settle().await;
    let heard: Vec<_> =
        std::iter::from_fn(|| mailbox.try_recv()).map(|message| number_of(&message)).collect();
    assert!(heard.is_sorted_by(|a, b| a < b), "in order, and none twice: {heard:?}");
    assert!(!heard.iter().any(|number| refused.contains(number)), "{refused:?} were refused: {heard:?}");
    here.say(&lobby, number).await;
    here.hears(&mut mailbox, [number]).await;
    Ok(())
}

async fn members_stay(harness: &dyn Harness, fault: Fault) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby, staff) = (here.at(Route::Peer).await?, group("lobby"), group("staff"));
    let (mut near, mut far) = (here.member_of(&lobby).await, there.member_of(&lobby).await);
    there.join(&staff, far.channel()).await;
    here.say(&lobby, 0).await;
    here.hears_first(&mut near, [0]).await;
    there.hears_first(&mut far, [0]).await;
    begin_both(&here, &there, fault).await?;
    here.elapse(OUTAGE).await;
    end_both(&here, &there).await;
    here.say(&lobby, 1).await;
    here.hears_first(&mut near, [1]).await;
    there.hears_first(&mut far, [1]).await;
    there.say(&lobby, 2).await;
    here.hears_first(&mut near, [2]).await;
    there.hears_first(&mut far, [2]).await;
    here.say(Audience::from(&lobby).and(&staff), 3).await;
    here.send(far.channel(), 4).await;
    here.hears_first(&mut near, [3]).await;
    assert_eq!(there.take_sorted(&mut far, 2).await, [3, 4]);
    there.leave(&lobby, far.channel()).await;
    here.say(&lobby, 5).await;
    here.hears_first(&mut near, [5]).await;
    here.silent([&mut near, &mut far]).await;
    Ok(())
}

async fn come_and_go(harness: &dyn Harness, fault: Fault) -> Verdict {
    let here = Fixture::new(harness).await;
    let (old, new) = (group("old"), group("new"));
    let mut stays = here.member_of(&old).await;
    let (mut leaves, mut leaves_all) = (here.member_of(&old).await, here.member_of(&old).await);
    begin(&here, fault).await?;
    let (mut late, mut gives_up) = (here.open().await, here.open().await);
    for channel in [stays.channel(), late.channel(), gives_up.channel()] {
        here.join(&new, channel).await;
    }
    here.join(&old, late.channel()).await;
    here.leave(&old, leaves.channel()).await;
    here.leave_all(leaves_all.channel()).await;
    here.leave(&new, gives_up.channel()).await;
    drop(here.member_of(&new).await);
    end(&here).await;
    here.say(&old, 1).await;
    here.say(&new, 2).await;
    for mailbox in [&mut stays, &mut late] {
        assert_eq!(here.take_sorted(mailbox, 2).await, [1, 2]);
    }
    here.send(late.channel(), 3).await;
    here.hears_first(&mut late, [3]).await;
    here.silent([&mut stays, &mut late, &mut leaves, &mut leaves_all, &mut gives_up]).await;
    Ok(())
}

async fn receiver_stays(harness: &dyn Harness, fault: Fault) -> Verdict {
    let here = Fixture::new(harness).await;
    let jobs = channel("jobs");
    let receiving = here.spawn_receive(&jobs);
    here.settle().await;
    begin(&here, fault).await?;
    let late = here.spawn_receive(&jobs);
    here.elapse(OUTAGE).await;
    assert!(!receiving.is_finished() && !late.is_finished(), "they wait");
    end(&here).await;
    for receiver in [receiving, late] {
        let mut number = 0;
        while !receiver.is_finished() && number < 100 {
            here.send(&jobs, number).await; // at most once: the receiver may not be back yet
            here.settle().await;
            number += 1;
        }
        let received = here.soon(receiver).await.expect("the task ends");
        assert!(received.is_ok(), "it waited the outage out, and then said {received:?}");
    }
    Ok(())
}

async fn closes(harness: &dyn Harness, fault: Fault) -> Verdict {
    let here = Fixture::new(harness).await;
    let mut events = here.layer.events();
    let receiving = here.spawn_receive(&channel("jobs"));
    here.settle().await;
    begin(&here, fault).await?;
    here.close().await;
    let received = here.soon(receiving).await.expect("the task ends");
    assert!(matches!(received, Err(Error::Closed)), "{received:?}");
    while here.event(&mut events).await.is_some() {}
    let refused = here.try_send(&channel("jobs"), 1).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    Ok(())
}

/// A group that a peer joins during an outage receives messages of this process when both are back.
pub async fn joins_in_an_outage_take_effect(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    begin_both(&here, &there, Fault::Sever).await?;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(there.member_of(&lobby).await);
    }
    end_both(&here, &there).await;
    for number in 0..20 {
        here.say(&lobby, number).await;
    }
    for member in &mut members {
        there.hears_first(member, 0..20).await;
    }
    there.silent(&mut members).await;
    Ok(())
}

/// Consecutive outages are reported one by one, and members remain members.
pub async fn each_outage_is_reported(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (lobby, mut events) = (group("lobby"), here.layer.events());
    let mut mailbox = here.member_of(&lobby).await;
    for number in 0..3 {
        begin(&here, Fault::Sever).await?;
        end(&here).await;
        here.say(&lobby, number).await;
        here.hears_first(&mut mailbox, [number]).await;
        assert_eq!(here.event(&mut events).await, Some(LayerEvent::Disconnected));
        let back = here.event(&mut events).await;
        assert!(matches!(back, Some(LayerEvent::Reconnected { .. })), "{back:?}");
    }
    here.no_event(&mut events).await;
    here.silent([&mut mailbox]).await;
    Ok(())
}

/// Messages stored on a named channel survive an outage.
pub async fn stored_messages_survive_an_outage(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    here.requires(|can| can.stores_messages, "stores_messages")?;
    let jobs = channel("jobs");
    for number in 0..5 {
        here.send(&jobs, number).await;
    }
    begin(&here, Fault::Sever).await?;
    end(&here).await;
    here.send(&jobs, 5).await;
    for number in 0..6 {
        assert_eq!(here.receive(&jobs).await, number);
    }
    here.receives_nothing(&jobs).await;
    Ok(())
}

/// The number of messages of another process that are lost while the layer is connected is reported.
pub async fn lost_messages_are_reported(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    here.requires(|can| can.detects_loss, "detects_loss")?;
    let (mut mailbox, mut events) = (here.member_of(&lobby).await, here.layer.events());
    there.say(&lobby, 0).await;
    here.hears_first(&mut mailbox, [0]).await;
    here.lose().await?;
    for number in 1..4 {
        there.say(&lobby, number).await;
    }
    here.silent([&mut mailbox]).await;
    here.mend().await;
    there.say(&lobby, 4).await;
    here.hears_first(&mut mailbox, [4]).await;
    assert_eq!(here.event(&mut events).await, Some(LayerEvent::Lost { count: 3 }));
    assert!(!here.is_away(), "the layer was connected all the time");
    there.say(&lobby, 5).await;
    here.hears(&mut mailbox, [5]).await;
    here.no_event(&mut events).await;
    Ok(())
}

/// Calls raise no event without an outage.
pub async fn no_event_without_an_outage(harness: &dyn Harness) -> Verdict {
    let here = Fixture::roomy(harness).await;
    let there = if here.layer.capabilities().cross_process { here.peer().await? } else { here.clone() };
    let (lobby, mut events) = (group("lobby"), [here.layer.events(), there.layer.events()]);
    let (mut near, far) = (here.member_of(&lobby).await, there.member_of(&lobby).await);
    busy(&here, &there, 0..=49).await;
    drop(far);
    there.leave_all(there.open().await.channel()).await;
    busy(&here, &there, 50..=99).await;
    assert_eq!(here.take_sorted(&mut near, 100).await, (0..100).collect::<Vec<_>>());
    for events in &mut events {
        check_silence(&here, events).await;
    }
    Ok(())
}

async fn busy(here: &Fixture<'_>, there: &Fixture<'_>, numbers: RangeInclusive<i64>) {
    let gone = there.open().await.channel().clone();
    for number in numbers {
        [here, there][(number % 2) as usize].say(&group("lobby"), number).await;
        here.soon(here.layer.send(&gone, numbered(number))).await.expect("an unknown channel is fine");
    }
}

async fn check_silence(here: &Fixture<'_>, events: &mut LayerEvents) {
    assert!(!events.state().is_away());
    here.no_event(events).await;
}

/// Breaks the backend, and waits until the layer has noticed.
async fn begin(here: &Fixture<'_>, fault: Fault) -> Result<(), Skip> {
    here.disrupt(fault).await?;
    here.until_away(true).await;
    Ok(())
}

async fn begin_both(here: &Fixture<'_>, there: &Fixture<'_>, fault: Fault) -> Result<(), Skip> {
    begin(here, fault).await?;
    there.until_away(true).await;
    Ok(())
}

/// Mends the backend, and waits until the layer is connected.
async fn end(here: &Fixture<'_>) {
    here.mend().await;
    here.until_away(false).await;
}

async fn end_both(here: &Fixture<'_>, there: &Fixture<'_>) {
    end(here).await;
    there.until_away(false).await;
}
