//! Input that waits for the application, bounded.

use std::{collections::VecDeque, mem};

use super::values::{Input, Resumed};

/// Frames of the client that wait for a busy hook, and that are handled in one go; with more, the transport stops reading.
const FRAMES: usize = 8;
/// The limit while a hook looks for the client's answer among the frames.
const FRAMES_SOUGHT: usize = 1024;
/// Events that wait for a busy hook; with more, they stay in the mailbox and count against its capacity.
const EVENTS: u32 = 100;
/// The limit of the bytes of events.
const EVENT_BYTES: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Inbox {
    queue: VecDeque<Input>,
    /// The number of events among them. Small, so that the flags find room beside it.
    events: u32,
    event_bytes: usize,
    /// Whether a hook looks for the client's answer among the frames.
    is_sought: bool,
    /// Whether the application is handling a frame or a request of the client.
    is_handling: bool,
}

impl Inbox {
    /// `is_handling`: from the beginning, as a plain request is.
    pub(super) fn new(is_handling: bool) -> Self {
        Self { is_handling, ..Self::default() }
    }

    /// Adds a frame, or a part of a request's body.
    pub(super) fn push(&mut self, input: Input) {
        self.queue.push_back(input);
    }

    pub(super) fn push_event(&mut self, event: Input) {
        self.events += 1;
        self.event_bytes += event_size(&event);
        self.queue.push_back(event);
    }

    /// Merges a client's return into one that the application has not seen yet. Returns false if there is none.
    pub(super) fn merge_resumed(&mut self, resumed: &Resumed) -> bool {
        let Some(Input::Resumed(known)) = self.queue.back_mut() else { return false };
        known.transport = resumed.transport;
        if let Some(gap) = resumed.gap.clone() {
            let before = known.gap.take().unwrap_or_else(|| gap.clone());
            known.gap = Some(*before.start().min(gap.start())..=*before.end().max(gap.end()));
        }
        true
    }

    pub(super) fn pop(&mut self) -> Option<Input> {
        let Some(input) = self.queue.pop_front() else {
            self.is_handling = false;
            return None;
        };
        if input.is_event() {
            self.events -= 1;
            self.event_bytes -= event_size(&input);
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new(); // an idle connection keeps no memory for it
        }
        self.is_handling = !input.is_event();
        Some(input)
    }

    /// Sets whether the application is handling input of the client, where that is not what it took last.
    pub(super) fn set_handling(&mut self, is_handling: bool) {
        self.is_handling = is_handling;
    }

    /// Takes the first of the client's inputs from which `select` makes a value, out of order. The first `seen` of
    /// them are skipped; without a result, `seen` becomes the number of all.
    pub(super) fn seek<T>(&mut self, seen: &mut usize, select: impl Fn(&Input) -> Option<T>) -> Option<T> {
        let frames = self.queue.iter().enumerate().filter(|(_, input)| !input.is_event());
        let found = frames.skip(*seen).find_map(|(at, input)| Some((at, select(input)?)));
        let Some((at, found)) = found else {
            *seen = self.frames();
            return None;
        };
        self.queue.remove(at);
        Some(found)
    }

    pub(super) fn set_sought(&mut self, is_sought: bool) {
        self.is_sought = is_sought;
    }

    /// Drops all input.
    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        (self.events, self.event_bytes) = (0, 0);
    }

    /// Drops the events and keeps what the client sent.
    pub(super) fn drop_events(&mut self) {
        let queue = mem::take(&mut self.queue);
        self.clear();
        self.queue.extend(queue.into_iter().filter(|input| !input.is_event()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn frames(&self) -> usize {
        self.queue.len() - self.events as usize
    }

    /// Whether the client may be read.
    pub(super) fn has_room(&self) -> bool {
        self.frames() < if self.is_sought { FRAMES_SOUGHT } else { FRAMES }
    }

    pub(super) fn is_full_of_events(&self) -> bool {
        self.events >= EVENTS || self.event_bytes >= EVENT_BYTES
    }

    /// Whether input of the client waits or is being handled. False while a hook waits for the client's answer.
    pub(super) fn is_busy(&self) -> bool {
        (self.is_handling && !self.is_sought) || self.frames() > 0
    }

    /// Whether the application is handling input of the client.
    pub(super) fn is_handling(&self) -> bool {
        self.is_handling
    }
}

fn event_size(input: &Input) -> usize {
    if let Input::Event(message) = input { message.size() } else { 0 }
}

#[cfg(test)]
mod tests {
    use channel_layer::Message;

    use super::*;
    use crate::scope::Transport;

    #[test]
    fn unseen_returns_are_one() {
        let mut inbox = Inbox::default();
        let resumed = |transport, gap| Resumed { transport, gap };
        assert!(!inbox.merge_resumed(&resumed(Transport::Poll, None)));
        inbox.push_event(Input::Resumed(resumed(Transport::Poll, None)));
        for (gap, merged) in [(None, None), (Some(5..=9), Some(5..=9)), (Some(2..=6), Some(2..=9))] {
            assert!(inbox.merge_resumed(&resumed(Transport::EventStream, gap)));
            let Some(Input::Resumed(known)) = inbox.queue.back() else { panic!("it is there") };
            assert_eq!(*known, resumed(Transport::EventStream, merged));
        }
        inbox.push(Input::Frame("x".into()));
        assert!(!inbox.merge_resumed(&resumed(Transport::Poll, None)), "a frame came between them");
        assert_eq!(inbox.queue.len(), 2);
    }

    #[test]
    fn events_are_bounded_apart() {
        let mut inbox = Inbox::default();
        (0..EVENTS).for_each(|_| inbox.push_event(Input::Event(Message::new("said"))));
        assert!(inbox.is_full_of_events() && inbox.has_room() && !inbox.is_busy());
        (0..FRAMES).for_each(|_| inbox.push(Input::Frame("x".into())));
        assert!(!inbox.has_room() && inbox.is_busy());
        inbox.set_sought(true);
        assert!(inbox.has_room());
        inbox.drop_events();
        assert_eq!((inbox.frames(), inbox.event_bytes, inbox.is_full_of_events()), (FRAMES, 0, false));
    }

    #[test]
    fn seeks_among_frames_only() {
        let mut inbox = Inbox::default();
        inbox.push_event(Input::Event(Message::new("said")));
        ["a", "b", "c"].into_iter().for_each(|text| inbox.push(Input::Frame(text.into())));
        let is = |text: &'static str| {
            move |input: &Input| matches!(input, Input::Frame(frame) if *frame == text.into()).then_some(())
        };
        let mut seen = 0;
        assert!(inbox.seek(&mut seen, is("x")).is_none());
        assert_eq!(seen, 3);
        assert!(inbox.seek(&mut seen, is("b")).is_none(), "it was seen");
        assert!(inbox.seek(&mut 0, is("b")).is_some());
        assert_eq!(inbox.queue.len(), 3);
    }
}
