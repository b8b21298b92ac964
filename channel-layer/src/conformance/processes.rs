//! Two processes on one backend, where one body does not fit both routes.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, channel, group},
};
use crate::{error::Error, layer::ChannelLayer};

/// A message to a group reaches its members in both processes once, whichever of them sends.
pub async fn groups_span_processes(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    let (mut near, mut far) = (here.member_of(&lobby).await, there.member_of(&lobby).await);
    for number in 0..10 {
        here.say(&lobby, number * 2).await;
        here.hears_first(&mut near, [number * 2]).await;
        there.hears_first(&mut far, [number * 2]).await;
        there.say(&lobby, number * 2 + 1).await;
        here.hears_first(&mut near, [number * 2 + 1]).await;
        there.hears_first(&mut far, [number * 2 + 1]).await;
    }
    here.silent([&mut near, &mut far]).await;
    Ok(())
}

/// A process that closes its layer does not affect the other one, and its members no longer receive.
pub async fn one_process_can_end(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    let (mut near, mut far) = (here.member_of(&lobby).await, there.member_of(&lobby).await);
    drop(there.member_of(&lobby).await);
    there.close().await;
    here.say(&lobby, 1).await;
    here.send(far.channel(), 2).await;
    here.hears(&mut near, [1]).await;
    there.silent([&mut far]).await;
    Ok(())
}

/// A process that closes its layer ends the waits in it. Receivers and listeners of the other process continue.
pub async fn closing_spares_other_processes(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, jobs) = (here.at(Route::Peer).await?, channel("closing-one"));
    let (mut near, mut far) = (here.layer.events(), there.layer.events());
    let (stays, ends) = (here.spawn_receive(&jobs), there.spawn_receive(&jobs));
    here.settle().await;
    there.close().await;
    let ended = there.soon(ends).await.expect("the task ends");
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    while there.event(&mut far).await.is_some() {}
    here.no_event(&mut near).await;
    assert!(!stays.is_finished() && !here.is_away());
    here.send(&jobs, 1).await;
    let received = here.soon(stays).await.expect("the task ends");
    assert_eq!(received.expect("a message"), 1);
    Ok(())
}

/// A message in flight while its receiver's process closes arrives at most once.
pub async fn closing_under_load_ends(harness: &dyn Harness) -> Verdict {
    let here = Fixture::roomy(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    let (mut near, mut far) = (here.member_of(&lobby).await, there.member_of(&lobby).await);
    let run = async {
        for number in 0..100 {
            here.say(&lobby, number).await;
            here.send(far.channel(), 1_000).await;
        }
    };
    let close = async {
        tokio::task::yield_now().await;
        there.close().await;
    };
    tokio::join!(run, close);
    here.hears(&mut near, 0..100).await;
    let heard: Vec<_> =
        std::iter::from_fn(|| far.try_recv()).map(|message| super::fixture::number_of(&message)).collect();
    let of_group: Vec<_> = heard.iter().copied().filter(|number| *number < 1_000).collect();
    assert!(of_group.is_sorted_by(|a, b| a < b), "in order, and none twice: {of_group:?}");
    let later = here.soon(there.layer.health()).await;
    assert!(matches!(later, Err(Error::Closed)), "{later:?}");
    Ok(())
}
