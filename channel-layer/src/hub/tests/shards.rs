//! Groups with several shards.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use crate::{
    hub::{group::Group, member_cursor::MemberCursor},
    mailbox::{Bounds, Mailbox},
};

type Sharded = Group<4>;

fn mailbox(n: usize) -> Mailbox {
    let bounds = Bounds { messages: 10, bytes: 1 << 20 };
    Mailbox::new(format!("a!{n}").parse().unwrap(), bounds, None)
}

fn group(name: &str) -> Arc<Sharded> {
    Arc::new(Group::new(name.parse().unwrap()))
}

/// The first visits per member.
fn visits(mut cursor: MemberCursor<4>, slots: usize) -> BTreeMap<String, usize> {
    let mut visits = BTreeMap::new();
    let mut visit = |name: String| *visits.entry(name).or_default() += 1;
    while cursor.step(slots, |member, _, is_seen| {
        if !is_seen {
            visit(member.channel().to_string());
        }
        true
    }) {}
    visits
}

#[test]
fn each_shard_has_its_members() {
    let (group, mailboxes) = (group("g"), (0..1000).map(mailbox).collect::<Vec<_>>());
    for mailbox in &mailboxes {
        let _ = group.join(mailbox.sender().clone());
    }
    let shards: Vec<_> =
        (0..4).map(|shard| visits(MemberCursor::new_in_shard(group.clone(), shard), 7)).collect();
    assert!(shards.iter().all(|shard| shard.len() > 50), "all are in use");
    let all: BTreeMap<_, _> = shards.into_iter().flatten().collect();
    assert_eq!((all.len(), group.len(), group.channels().len()), (1000, 1000, 1000));
}

proptest! {
    #[test]
    fn visits_each_member_once(
        changes in prop::collection::vec((0..30_usize, 0..2_usize), 0..200),
        slots in 1..5_usize,
    ) {
        let (groups, mailboxes) = ([group("g"), group("h")], (0..30).map(mailbox).collect::<Vec<_>>());
        let mut members = BTreeMap::new();
        for (member, at) in changes {
            match members.remove(&(member, at)) {
                Some(slot) => groups[at].leave(slot),
                None => drop(members.insert((member, at), groups[at].join(mailboxes[member].sender().clone()))),
            }
        }
        let expected: BTreeMap<_, _> = members.keys().map(|(member, _)| (format!("a!{member}"), 1)).collect();
        prop_assert_eq!(visits(MemberCursor::new(groups.to_vec()), slots), expected);
        for (at, group) in groups.into_iter().enumerate() {
            let of_group = members.keys().filter(|(_, group)| *group == at);
            let expected: BTreeMap<_, _> = of_group.map(|(member, _)| (format!("a!{member}"), 1)).collect();
            prop_assert_eq!(group.len(), expected.len());
            prop_assert_eq!(visits(MemberCursor::new(vec![group]), slots), expected);
        }
    }
}
