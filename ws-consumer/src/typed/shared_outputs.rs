//! Frames that consumers make of one event, encoded once for all.

use std::sync::OnceLock;

use channel_layer::Message;

use crate::error::Result;

/// The number of functions whose frames are kept: those of a few languages or roles.
const MOST: usize = 8;

/// The frames that have been made of an event, by the functions that made them. A list that is only appended to, so that
/// reading takes no lock, as with a message's derived data.
#[derive(Default)]
pub(super) struct SharedOutputs(OnceLock<Box<OutputNode>>);

struct OutputNode {
    /// The address of the function. Functions at one address have the same code, and make equal frames.
    function: usize,
    /// `None` if the frame cannot be encoded.
    message: OnceLock<Option<Message>>,
    next: SharedOutputs,
}

impl SharedOutputs {
    /// Returns the frame that the function at this address makes, made by the first call.
    pub(super) fn get_or_make(&self, function: usize, make: impl Fn() -> Result<Message>) -> Result<Message> {
        let mut list = self;
        for _ in 0..MOST {
            let node = list.0.get_or_init(|| Box::new(OutputNode::new(function)));
            if node.function == function {
                return match node.message.get_or_init(|| make().ok()) {
                    Some(message) => Ok(message.clone()),
                    None => make(), // for the error, of which there is no clone
                };
            }
            list = &node.next;
        }
        make()
    }
}

impl OutputNode {
    fn new(function: usize) -> Self {
        Self { function, message: OnceLock::new(), next: SharedOutputs::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::error::Error;

    #[test]
    fn shared_outputs_are_bounded() {
        let (outputs, made) = (SharedOutputs::default(), AtomicUsize::new(0));
        let make = |function: usize| {
            made.fetch_add(1, Relaxed);
            Ok(Message::websocket_text(function.to_string()))
        };
        for _ in 0..3 {
            for function in 0..=MOST {
                let message = outputs.get_or_make(function, || make(function)).unwrap();
                assert_eq!(message, Message::websocket_text(function.to_string()));
            }
        }
        assert_eq!(made.into_inner(), MOST + 3, "only the last one is made each time");
    }

    #[test]
    fn failures_are_errors_each_time() {
        let outputs = SharedOutputs::default();
        for _ in 0..2 {
            assert!(outputs.get_or_make(1, || Err(Error::other("no format"))).is_err());
        }
    }
}
