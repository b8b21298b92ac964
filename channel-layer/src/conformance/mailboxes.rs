//! Mailboxes: their names, their policies, and what goes with them.

use std::collections::HashSet;

use super::{
    Harness, Verdict,
    stage::{Stage, group},
};
use crate::{
    config::{MailboxOptions, Policy},
    error::Error,
    layer::ChannelLayer,
    mailbox::Mailbox,
};

/// Names differ, carry their prefix, and are too long to be guessed.
pub async fn mailbox_names_are_unique_and_unguessable(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let (mut names, mut mailboxes) = (HashSet::new(), Vec::new());
    for _ in 0..100 {
        let mailbox = open(&stage, "chat.room".into()).await;
        let name = mailbox.channel().as_str().to_owned();
        assert!(name.contains("chat.room"), "`{name}` carries its prefix");
        assert!(names.insert(name.clone()), "`{name}` is taken");
        mailboxes.push(mailbox);
    }
    let shared = shared_prefix(&names);
    let shortest = names.iter().map(|name| name.len() - shared).min().unwrap_or(0);
    assert!(shortest >= 11, "only {shortest} characters tell one name from another");
    Ok(())
}

/// A prefix that makes no valid name is refused.
pub async fn a_bad_prefix_is_refused(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    for prefix in ["two!marks!", "white space", &"long".repeat(30)] {
        let refused = stage.soon(stage.layer.open(prefix.into())).await;
        assert!(matches!(refused, Err(Error::InvalidName(_))), "`{prefix}`: {refused:?}");
    }
    Ok(())
}

/// A mailbox that is dropped has left its groups, without any further call.
pub async fn a_dropped_mailbox_leaves_its_groups(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let lobby = group("lobby");
    let mut stays = stage.member_of(&lobby).await;
    drop(stage.member_of(&lobby).await);
    stage.settle().await;
    let report = stage.group_send(&lobby, 1).await;
    assert!(report.local.matched <= 1, "{report:?}");
    stage.hears(&mut stays, &[1]).await;
    Ok(())
}

/// Under the default policy, the newest are refused.
pub async fn refuse_newest_keeps_the_oldest(harness: &dyn Harness) -> Verdict {
    holds(harness, Policy::RefuseNewest, &[0, 1]).await
}

/// Under this policy, the oldest make room.
pub async fn drop_oldest_keeps_the_newest(harness: &dyn Harness) -> Verdict {
    holds(harness, Policy::DropOldest, &[3, 4]).await
}

/// Under this policy, a message takes the place of the one with the same key.
pub async fn keep_latest_replaces_by_key(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = open(&stage, options(Policy::keep_latest("number"))).await;
    for number in [1, 2, 1, 1] {
        stage.send(mailbox.channel(), number).await;
    }
    stage.settle().await;
    stage.hears(&mut mailbox, &[2, 1]).await;
    Ok(())
}

/// Under this policy, a mailbox that was full ends.
pub async fn close_ends_a_full_mailbox(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = open(&stage, options(Policy::Close)).await;
    for number in 0..5 {
        let _ = stage.try_send(mailbox.channel(), number).await; // full from the third on
    }
    stage.settle().await;
    assert!(mailbox.is_overflowed());
    assert_eq!(stage.soon(mailbox.next()).await, None);
    Ok(())
}

/// Bytes bound a mailbox as messages do.
pub async fn bytes_bound_a_mailbox_too(harness: &dyn Harness) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = open(&stage, MailboxOptions::default().with_byte_capacity(1)).await;
    for number in 0..3 {
        let _ = stage.try_send(mailbox.channel(), number).await; // full from the second on
    }
    stage.settle().await;
    stage.hears(&mut mailbox, &[0]).await;
    Ok(())
}

/// Sends five messages to a mailbox for two.
async fn holds(harness: &dyn Harness, policy: Policy, numbers: &[i64]) -> Verdict {
    let stage = Stage::new(harness).await;
    let mut mailbox = open(&stage, options(policy)).await;
    for number in 0..5 {
        let _ = stage.try_send(mailbox.channel(), number).await; // full from the third on, for some policies
    }
    stage.settle().await;
    stage.hears(&mut mailbox, numbers).await;
    Ok(())
}

fn options(policy: Policy) -> MailboxOptions {
    MailboxOptions::default().with_capacity(2).with_policy(policy)
}

async fn open(stage: &Stage<'_>, options: MailboxOptions) -> Mailbox {
    stage.soon(stage.layer.open(options)).await.expect("a mailbox can be opened")
}

fn shared_prefix(names: &HashSet<String>) -> usize {
    let Some(first) = names.iter().next() else { return 0 };
    let shared = |name: &String| name.bytes().zip(first.bytes()).take_while(|(a, b)| a == b).count();
    names.iter().map(shared).min().unwrap_or(0)
}
