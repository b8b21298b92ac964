//! Reports of `group_send`: the outcome of a message in this process, and the number of other processes.

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route, group},
};
use crate::layer::{Audience, Remote};

/// The report counts the members in this process that took the message.
pub async fn reports_count_local_members(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let lobby = group("lobby");
    let mut members = Vec::new();
    for count in 0..4 {
        let local = here.group_send(&lobby, 1).await.local;
        assert_eq!((local.matched, local.delivered, local.full, local.closed), (count, count, 0, 0));
        members.push(here.member_of(&lobby).await);
    }
    here.leave(&lobby, members[0].channel()).await;
    let local = here.group_send(&lobby, 1).await.local;
    assert_eq!((local.matched, local.delivered), (3, 3));
    Ok(())
}

/// The report counts the members in this process that are full.
pub async fn reports_count_full_members(harness: &dyn Harness) -> Verdict {
    let here = Fixture::with(harness, |config| config.with_capacity(3)).await;
    here.requires(|can| !can.shares_capacity, "shares_capacity")?;
    let lobby = group("lobby");
    let (_slow, mut quick) = (here.member_of(&lobby).await, here.member_of(&lobby).await);
    for number in 0..5 {
        let local = here.group_send(&lobby, number).await.local;
        let full = usize::from(number >= 3);
        assert_eq!((local.matched, local.delivered, local.full), (2, 2 - full, full), "message {number}");
        here.hears_first(&mut quick, [number]).await;
    }
    Ok(())
}

/// The report counts neither the excepted member in this process, nor a member of an empty group.
pub async fn reports_omit_exceptions(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (lobby, staff) = (group("lobby"), group("staff"));
    let (me, _you) = (here.member_of(&lobby).await, here.member_of(&lobby).await);
    here.join(&staff, me.channel()).await;
    for (to, most) in [
        (Audience::from(&lobby).except(me.channel()), 1),
        (Audience::from(&lobby).and(&staff), 2),
        (Audience::from(&group("nobody")).except(me.channel()), 0),
    ] {
        let local = here.group_send(to.clone(), 1).await.local;
        // A backend may not know for these audiences; one that does counts each member once.
        assert!(local.matched == most || local.matched == 0, "{local:?} for {to:?}");
        assert_eq!(local.matched, local.delivered);
    }
    Ok(())
}

/// The report counts the other process that has members, if the backend knows the number.
pub async fn reports_count_other_processes(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    let (there, lobby) = (here.at(Route::Peer).await?, group("lobby"));
    let far = there.member_of(&lobby).await;
    let _more = there.member_of(&lobby).await;
    let known =
        |report: Remote, count| matches!(report, Remote::Unknown) || report == Remote::Processes(count);
    let report = here.group_send(&lobby, 1).await;
    assert!(known(report.remote, 1), "{report:?}, and one other process has members");
    assert_eq!(report.local.matched, 0, "the members are in the other process");
    let _near = here.member_of(&lobby).await;
    let report = here.group_send(&lobby, 2).await;
    assert!(known(report.remote, 1), "{report:?}, and one other process has members");
    assert_eq!((report.local.matched, report.local.delivered), (1, 1));
    drop(far);
    Ok(())
}
