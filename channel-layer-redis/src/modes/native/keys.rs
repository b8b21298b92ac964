//! The keys of named channels.

use channel_layer::ChannelName;

/// | key | kind | content |
/// |---|---|---|
/// | `PREFIX:q:CHANNEL` | list | messages on a named channel |
/// | `PREFIX:o:CHANNEL:ID` | string | the id of a message that a named channel has received from a group |
///
/// Names contain no `:`, so two objects never share a key, with any prefix.
#[derive(Clone, Debug)]
pub(super) struct NativeKeys {
    prefix: String,
}

impl NativeKeys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn queue(&self, channel: &ChannelName) -> String {
        format!("{}:q:{channel}", self.prefix)
    }

    /// The prefix of all queues.
    pub(super) fn queues(&self) -> String {
        format!("{}:q:", self.prefix)
    }

    pub(super) fn once(&self, channel: &ChannelName, id: u128) -> String {
        format!("{}:o:{channel}:{id:032x}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_distinct(
            prefixes in prop::array::uniform2("[a-z:]{0,6}"),
            names in prop::array::uniform2("[a-z.]{1,4}"),
        ) {
            let keys = [0, 1].map(|at| NativeKeys::new(&prefixes[at]));
            let names = [0, 1].map(|at| names[at].parse::<ChannelName>().unwrap());
            let same = prefixes[0] == prefixes[1] && names[0] == names[1];
            prop_assert_eq!(keys[0].queue(&names[0]) == keys[1].queue(&names[1]), same);
            prop_assert_ne!(keys[0].queue(&names[0]), keys[1].once(&names[1], 1));
        }
    }
}
