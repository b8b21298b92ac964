//! What Django's format has no place for: exceptions, and messages to several groups.
//!
//! Such a message carries one more entry, which Rust takes out again. Python hands it to its consumers, who do not
//! look at it; there nobody is left out, and who is in several of the groups receives one copy from each.

use std::collections::{HashSet, VecDeque};

use channel_layer::{Audience, ChannelName, GroupName, Map, Result, Value};

use crate::shared::hex_id;

/// The entry's key.
pub(super) const KEY: &str = "__channel_layer__";

/// Messages to several groups that are remembered, because they come once per group.
const REMEMBERED: usize = 4096;

/// The entry, for an audience that needs one.
pub(super) fn write(to: &Audience) -> Result<Option<Value>> {
    if !to.is_union() && to.excepted().is_none() {
        return Ok(None);
    }
    let mut map = Map::new();
    if let Some(excepted) = to.excepted() {
        map.insert("except", excepted.as_str());
    }
    if to.is_union() {
        map.insert("id", hex_id()?);
        map.insert("groups", Value::list(to.groups().map(GroupName::as_str)));
    }
    Ok(Some(Value::Map(map)))
}

/// Whom a message that came in by this group is for, and its number if it comes by other groups too.
pub(super) fn read(entry: Option<&Value>, group: GroupName) -> (Audience, Option<String>) {
    let Some(map) = entry.and_then(Value::as_map) else { return (group.into(), None) };
    let mut audience = Audience::from(&group);
    // Each once, however often somebody may have named it: all its members are visited each time.
    let mut known = HashSet::from([group]);
    for other in map["groups"].as_list().unwrap_or_default() {
        match other.as_str().map(GroupName::new) {
            Some(Ok(other)) if known.insert(other.clone()) => audience = audience.and(other),
            _ => {}
        }
    }
    if let Some(Ok(excepted)) = map["except"].as_str().map(ChannelName::new) {
        audience = audience.except(excepted);
    }
    (audience, map["id"].as_str().map(str::to_owned))
}

/// Messages to several groups that have been handed out already.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Is it the first copy?
    pub(super) fn is_first(&mut self, id: String) -> bool {
        if !self.known.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let group = |name: &str| name.parse::<GroupName>().unwrap();
        let plain = Audience::from(group("g"));
        assert_eq!(write(&plain).unwrap(), None, "most messages are as Python has them");
        assert_eq!(read(None, group("g")), (plain.clone(), None));
        let wanted = plain.and(group("h")).except("a.b".parse::<ChannelName>().unwrap());
        let (read, id) = read(write(&wanted).unwrap().as_ref(), group("g"));
        assert_eq!(read, wanted);
        let (mut seen, id) = (Seen::default(), id.unwrap());
        assert!(seen.is_first(id.clone()) && !seen.is_first(id));
    }

    #[test]
    fn a_group_that_is_named_over_and_over_counts_once() {
        let entry = Value::Map(Map::from([("groups", Value::list(["g", "h", "h", "g", "h"]))]));
        let (audience, _) = read(Some(&entry), "g".parse().unwrap());
        assert_eq!(audience.groups().count(), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Seen::default();
        (0..3 * REMEMBERED).for_each(|n| assert!(seen.is_first(n.to_string())));
        assert!(seen.known.len() <= REMEMBERED && seen.order.len() <= REMEMBERED);
    }
}
