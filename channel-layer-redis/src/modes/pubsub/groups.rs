//! Exceptions, and messages to several groups, for which Django's format has no place.
//!
//! Such a message carries one more entry, which Rust takes out again. Python hands it to its consumers, who do not
//! look at it; there nobody is left out, and who is in several of the groups receives one copy from each.

use std::collections::HashSet;

use channel_layer::{Audience, ChannelName, GroupName, Map, Result, Value};

use super::keys::hex_id;

/// The entry's key.
pub(super) const KEY: &str = "__channel_layer__";

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

/// The recipients of a message that came in by this group, and a number that its copies in other groups share.
pub(super) fn read(entry: Option<&Value>, group: GroupName) -> (Audience, Option<u128>) {
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
    (audience, map["id"].as_str().and_then(|id| u128::from_str_radix(id, 16).ok()))
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
        assert!(id.is_some(), "its copies are told from other messages");
    }

    #[test]
    fn a_group_that_is_named_over_and_over_counts_once() {
        let entry = Value::Map(Map::from([("groups", Value::list(["g", "h", "h", "g", "h"]))]));
        let (audience, _) = read(Some(&entry), "g".parse().unwrap());
        assert_eq!(audience.groups().count(), 2);
    }
}
