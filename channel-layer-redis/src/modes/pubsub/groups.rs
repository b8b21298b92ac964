//! Exceptions, and messages to several groups, which Django's format cannot express.
//!
//! Such a message carries an additional entry, which Rust removes on receipt. Python passes it to its consumers, which ignore
//! it: there the exception has no effect, and a member of several of the groups receives one copy from each.

use std::collections::HashSet;

use channel_layer::{Audience, ChannelName, GroupName, Map, Result, Value};

use super::keys::hex_id;

/// The key of the entry.
pub(super) const KEY: &str = "__channel_layer__";

/// The entry for an audience, if it needs one.
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

/// The audience of a message received through this group, and the id that its copies in other groups share.
pub(super) fn read(entry: Option<&Value>, group: GroupName) -> (Audience, Option<u128>) {
    let Some(map) = entry.and_then(Value::as_map) else { return (group.into(), None) };
    let mut audience = Audience::from(&group);
    // Each group once, even if a forged entry repeats it: each costs a pass over all its members.
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
    fn entries_round_trip() {
        let group = |name: &str| name.parse::<GroupName>().unwrap();
        let plain = Audience::from(group("g"));
        assert_eq!(write(&plain).unwrap(), None, "most messages need no entry");
        assert_eq!(read(None, group("g")), (plain.clone(), None));
        let wanted = plain.and(group("h")).except("a.b".parse::<ChannelName>().unwrap());
        let (read, id) = read(write(&wanted).unwrap().as_ref(), group("g"));
        assert_eq!(read, wanted);
        assert!(id.is_some(), "its copies share an id");
    }

    #[test]
    fn repeated_groups_count_once() {
        let entry = Value::Map(Map::from([("groups", Value::list(["g", "h", "h", "g", "h"]))]));
        let (audience, _) = read(Some(&entry), "g".parse().unwrap());
        assert_eq!(audience.groups().count(), 2);
    }
}
