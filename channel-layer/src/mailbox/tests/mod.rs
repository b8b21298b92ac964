#[cfg(shuttle)]
mod models;

use super::*;

/// An idle mailbox pays for a place of its queue, so a burst must not make it larger than a message.
#[test]
fn a_burst_takes_no_more_room() {
    assert_eq!(size_of::<Option<queue::Item>>(), size_of::<Delivery>());
}
