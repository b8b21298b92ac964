//! Audiences: the excepted channel, unions of groups, and messages for one process only.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, group},
};
use crate::{layer::Audience, layer::Remote};

variants! {
    /// The excepted channel does not receive, and others do.
    exceptions_hear_nothing = excepted(Route::Local);
    /// The excepted channel of a peer does not receive, and others do.
    remote_exceptions_hear_nothing = excepted(Route::Peer);
    /// The excepted channel does not receive, whichever groups of a union it is in.
    unions_respect_exceptions = excepted_from_union(Route::Local);
    /// The excepted channel of a peer does not receive, whichever groups of a union it is in.
    unions_respect_remote_exceptions = excepted_from_union(Route::Peer);
    /// A channel that is in several groups of a union receives once.
    union_members_hear_once = in_several(Route::Local);
    /// A channel of a peer that is in several groups of a union receives once.
    remote_union_members_hear_once = in_several(Route::Peer);
    /// A union reaches the members of each of its groups, where only one of them has members.
    unions_reach_every_group = in_one_of(Route::Local);
    /// A union reaches a peer that has members in one of its groups only.
    unions_reach_every_remote_group = in_one_of(Route::Peer);
    /// A union that names one group twice is a message to that group.
    repeated_groups_hear_once = named_twice(Route::Local);
    /// A union that names one group twice is a message to that group in a peer.
    repeated_remote_groups_hear_once = named_twice(Route::Peer);
}

async fn excepted(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let (mut me, mut you) = (there.member_of(&lobby).await, there.member_of(&lobby).await);
    let mut near = here.member_of(&lobby).await;
    here.say(Audience::from(&lobby).except(me.channel()), 1).await;
    here.say(Audience::from(&lobby).except(here.open().await.channel()), 2).await;
    there.hears_first(&mut you, [1, 2]).await;
    there.hears_first(&mut me, [2]).await;
    here.hears_first(&mut near, [1, 2]).await;
    there.silent([&mut me, &mut you, &mut near]).await;
    Ok(())
}

async fn excepted_from_union(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let [lobby, staff, guests] = ["lobby", "staff", "guests"].map(group);
    let (mut both, mut second) = (there.member_of(&lobby).await, there.member_of(&staff).await);
    there.join(&staff, both.channel()).await;
    let mut other = there.member_of(&guests).await;
    let all = || Audience::from(&lobby).and(&staff).and(&guests);
    here.say(all().except(both.channel()), 1).await;
    here.say(all().except(second.channel()), 2).await;
    there.hears_first(&mut both, [2]).await;
    there.hears_first(&mut second, [1]).await;
    there.hears_first(&mut other, [1, 2]).await;
    there.silent([&mut both, &mut second, &mut other]).await;
    Ok(())
}

async fn in_several(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let (lobby, admins) = (group("lobby"), group("admins"));
    let (mut both, mut one) = (there.member_of(&lobby).await, there.member_of(&admins).await);
    there.join(&admins, both.channel()).await;
    for number in 1..21 {
        here.say(Audience::from(&lobby).and(&admins).and(group("nobody")), number).await;
    }
    there.hears_first(&mut both, 1..21).await;
    there.hears_first(&mut one, 1..21).await;
    there.silent([&mut both, &mut one]).await;
    Ok(())
}

/// Each group stands first, in the middle and last once, so that a backend cannot look at one of them only.
async fn in_one_of(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let (lobby, [empty, void]) = (group("lobby"), ["empty", "void"].map(group));
    let (mut member, mut outsider) = (there.member_of(&lobby).await, there.member_of(&group("other")).await);
    here.say(Audience::from(&lobby).and(&empty).and(&void), 1).await;
    here.say(Audience::from(&empty).and(&lobby).and(&void), 2).await;
    here.say(Audience::from(&empty).and(&void).and(&lobby), 3).await;
    here.say(Audience::from(&empty).and(&void), 4).await;
    assert_eq!(there.take_sorted(&mut member, 3).await, [1, 2, 3]);
    there.silent([&mut member, &mut outsider]).await;
    Ok(())
}

async fn named_twice(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(route).await?, group("lobby"));
    let mut member = there.member_of(&lobby).await;
    here.say(Audience::from(&lobby).and(&lobby), 1).await;
    there.hears(&mut member, [1]).await;
    Ok(())
}

/// A message for one process reaches the members in it, and its report knows of no other process.
pub async fn local_sends_reach_local_members(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (lobby, staff) = (group("lobby"), group("staff"));
    let (mut mailbox, mut me) = (here.member_of(&lobby).await, here.member_of(&staff).await);
    let report = here.group_send(Audience::from(&lobby).local_only(), 1).await;
    assert_eq!((report.local.matched, report.local.delivered), (1, 1));
    assert_eq!(report.remote, Remote::None);
    let union = Audience::from(&lobby).and(&staff).except(me.channel()).local_only();
    here.say(union, 2).await;
    here.hears_first(&mut mailbox, [1, 2]).await;
    here.silent([&mut mailbox, &mut me]).await;
    Ok(())
}

/// A message for one process does not reach another one.
pub async fn local_sends_reach_no_peer(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby, staff) = (here.at(Route::Peer).await?, group("lobby"), group("staff"));
    let (mut near, mut far) = (here.member_of(&lobby).await, there.member_of(&lobby).await);
    here.say(Audience::from(&lobby).local_only(), 1).await;
    here.say(Audience::from(&lobby).and(&staff).local_only(), 2).await;
    here.hears_first(&mut near, [1, 2]).await;
    here.silent([&mut near, &mut far]).await;
    Ok(())
}
