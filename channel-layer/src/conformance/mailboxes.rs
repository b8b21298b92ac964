//! Mailboxes: their names and their policies.

use std::collections::HashSet;

use super::{
    Harness, Verdict,
    fixture::{Fixture, Route},
};
use crate::{
    config::{MailboxOptions, OverflowPolicy},
    error::Error,
    layer::ChannelLayer,
    mailbox::Mailbox,
};

variants! {
    /// Names of mailboxes are unique, begin with their prefix, and are too long to be guessed.
    mailbox_names_are_unguessable = names(Route::Local);
    /// Names of mailboxes of two processes differ.
    mailbox_names_differ_by_process = names(Route::Peer);
    /// Under the default policy, the newest messages are refused.
    refuse_newest_keeps_the_oldest = holds(Route::Local, OverflowPolicy::RefuseNewest, [0, 1]);
    /// Under the default policy, the newest messages of a peer are refused.
    refuse_newest_at_a_peer = holds(Route::Peer, OverflowPolicy::RefuseNewest, [0, 1]);
    /// Under this policy, the oldest messages are dropped.
    drop_oldest_keeps_the_newest = holds(Route::Local, OverflowPolicy::DropOldest, [3, 4]);
    /// Under this policy, the oldest messages are dropped for those of a peer.
    drop_oldest_at_a_peer = holds(Route::Peer, OverflowPolicy::DropOldest, [3, 4]);
    /// Under this policy, a message replaces the one with the same key.
    keep_latest_replaces_by_key = keep_latest(Route::Local);
    /// Under this policy, a message of a peer replaces the one with the same key.
    keep_latest_at_a_peer = keep_latest(Route::Peer);
    /// Under this policy, an overflowing mailbox ends.
    close_ends_a_full_mailbox = closes(Route::Local);
    /// Under this policy, a mailbox that a peer overflows ends.
    close_at_a_peer = closes(Route::Peer);
    /// A mailbox is bounded in bytes too.
    bytes_bound_a_mailbox = bytes_bound(Route::Local);
    /// A mailbox is bounded in bytes for messages of a peer too.
    bytes_bound_a_remote_mailbox = bytes_bound(Route::Peer);
}

async fn names(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let (mut names, mut mailboxes) = (HashSet::new(), Vec::new());
    for number in 0..100 {
        let mailbox = open([&here, &there][number % 2], "chat.room".into()).await;
        let name = mailbox.channel().as_str().to_owned();
        assert!(name.contains("chat.room"), "`{name}` carries its prefix");
        assert!(names.insert(name.clone()), "`{name}` is taken");
        mailboxes.push(mailbox);
    }
    let shared = shared_prefix(&names);
    let shortest = names.iter().map(|name| name.len() - shared).min().unwrap_or(0);
    assert!(shortest >= 11, "names differ in only {shortest} characters");
    Ok(())
}

fn shared_prefix(names: &HashSet<String>) -> usize {
    let Some(first) = names.iter().next() else { return 0 };
    let shared = |name: &String| name.bytes().zip(first.bytes()).take_while(|(a, b)| a == b).count();
    names.iter().map(shared).min().unwrap_or(0)
}

/// Sends five messages to a mailbox for two.
async fn holds(harness: &dyn Harness, route: Route, policy: OverflowPolicy, numbers: [i64; 2]) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let mut mailbox = open(&there, options(policy)).await;
    for number in 0..5 {
        let _ = here.try_send(mailbox.channel(), number).await; // full from the third on, for some policies
    }
    there.settle().await;
    there.hears(&mut mailbox, numbers).await;
    Ok(())
}

async fn keep_latest(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let mut mailbox = open(&there, options(OverflowPolicy::keep_latest("number"))).await;
    for number in [1, 2, 1, 1] {
        here.send(mailbox.channel(), number).await;
    }
    there.settle().await;
    there.hears(&mut mailbox, [2, 1]).await;
    Ok(())
}

async fn closes(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let mut mailbox = open(&there, options(OverflowPolicy::Close)).await;
    for number in 0..5 {
        let _ = here.try_send(mailbox.channel(), number).await; // full from the third on
    }
    there.settle().await;
    assert!(mailbox.is_overflowed());
    assert_eq!(there.soon(mailbox.next()).await, None);
    Ok(())
}

async fn bytes_bound(harness: &dyn Harness, route: Route) -> Verdict {
    let here = Fixture::new(harness).await;
    let there = here.at(route).await?;
    let mut mailbox = open(&there, MailboxOptions::default().with_byte_capacity(1)).await;
    for number in 0..3 {
        let _ = here.try_send(mailbox.channel(), number).await; // full from the second on
    }
    there.settle().await;
    there.hears(&mut mailbox, [0]).await;
    Ok(())
}

/// A prefix that makes no valid name is refused.
pub async fn bad_prefixes_are_refused(harness: &dyn Harness) -> Verdict {
    let here = Fixture::new(harness).await;
    for prefix in ["two!marks!", "white space", &"long".repeat(30)] {
        let refused = here.soon(here.layer.open(prefix.into())).await;
        assert!(matches!(refused, Err(Error::InvalidName(_))), "`{prefix}`: {refused:?}");
    }
    Ok(())
}

fn options(policy: OverflowPolicy) -> MailboxOptions {
    MailboxOptions::default().with_capacity(2).with_overflow(policy)
}

async fn open(at: &Fixture<'_>, options: MailboxOptions) -> Mailbox {
    at.soon(at.layer.open(options)).await.expect("a mailbox can be opened")
}
