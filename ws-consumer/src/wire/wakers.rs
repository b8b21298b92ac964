//! The tasks that wait for a connection.

use std::{
    mem,
    task::{Context, Poll, Waker},
};

#[derive(Default)]
pub(super) struct Wakers {
    /// Waits in the socket's functions; the task's own waker unless the application polls by other means.
    application: Option<Waker>,
    /// The transport's task.
    task: Option<Waker>,
    /// Other tasks that wait for room in the outbox. Boxed: they are rare.
    #[expect(clippy::box_collection, reason = "a vector is three words in every connection")]
    senders: Option<Box<Vec<Waker>>>,
    /// Whether the application is being polled by the wire. The task then looks by itself at what has changed.
    is_polling: bool,
    /// Whether a hook waits for room in the outbox.
    wants_room: bool,
}

impl Wakers {
    /// Registers the application's waker.
    pub(super) fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        if !self.application.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.application = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Registers the application's waker, to be woken once the outbox has room.
    pub(super) fn wait_for_room<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.wants_room = true;
        self.wait(cx)
    }

    /// Registers another task, to be woken once the outbox has room.
    pub(super) fn wait_as_sender<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let senders = self.senders.get_or_insert_default();
        if !senders.iter().any(|known| known.will_wake(cx.waker())) {
            senders.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn begin_poll(&mut self, cx: &mut Context<'_>) {
        self.is_polling = true;
        if !self.task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
        }
    }

    pub(super) fn end_poll(&mut self) {
        self.is_polling = false;
    }

    /// Takes the application's waker if it is not the task's: the poll in progress does not reach it.
    pub(super) fn take_foreign(&mut self, cx: &mut Context<'_>) -> Option<Waker> {
        self.application.take_if(|waker| !waker.will_wake(cx.waker()))
    }

    pub(super) fn take_application(&mut self) -> Option<Waker> {
        self.application.take()
    }

    pub(super) fn take_senders(&mut self) -> Vec<Waker> {
        self.senders.take().map_or_else(Vec::new, |senders| *senders)
    }

    pub(super) fn take_wants_room(&mut self) -> bool {
        mem::take(&mut self.wants_room)
    }

    /// The task and the application, to be woken without the connection's lock.
    pub(super) fn both(&mut self) -> impl Iterator<Item = Waker> + use<> {
        [self.task.clone(), self.application.take()].into_iter().flatten()
    }

    pub(super) fn wake_task(&self) {
        if !self.is_polling
            && let Some(waker) = &self.task
        {
            waker.wake_by_ref();
        }
    }
}
