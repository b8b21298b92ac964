//! The paths of a message behind one interface, so that one body tests all of them.

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Skip,
    fixture::{Fixture, Route, channel, group, number_of, numbered},
};
use crate::{
    error::Result,
    layer::{Audience, ChannelLayer},
    mailbox::Mailbox,
    message::Message,
    name::ChannelName,
};

/// The call that sends, and the receiver that it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `send` to a mailbox.
    Mailbox,
    /// `group_send` to one group.
    Group,
    /// `group_send` to three groups, of which the receiver is in two.
    Union,
    /// `send` to a named channel.
    Named,
}

/// A sender in one process and one receiver in another, or in the same.
pub(super) struct Path<'a> {
    here: Fixture<'a>,
    /// Kept, because dropping its layer would end the process.
    _there: Fixture<'a>,
    kind: Kind,
    to: ChannelName,
    receiver: Receiver,
}

enum Receiver {
    Mailbox(Mailbox),
    Named(UnboundedReceiver<Message>, JoinHandle<()>),
}

impl<'a> Path<'a> {
    /// Opens a path of this kind along a route.
    pub(super) async fn open(here: Fixture<'a>, route: Route, kind: Kind) -> Result<Self, Skip> {
        let there = here.at(route).await?;
        let (to, receiver) = if kind == Kind::Named {
            (channel("jobs"), receive_all(&there, channel("jobs")).await)
        } else {
            let mailbox = there.open().await;
            there.join(&group("lobby"), mailbox.channel()).await;
            there.join(&group("staff"), mailbox.channel()).await;
            (mailbox.channel().clone(), Receiver::Mailbox(mailbox))
        };
        Ok(Self { here, _there: there, kind, to, receiver })
    }

    pub(super) async fn send(&self, message: Message) -> Result<()> {
        let layer = &self.here.layer;
        let send = async {
            match self.kind {
                Kind::Mailbox | Kind::Named => layer.send(&self.to, message).await,
                Kind::Group => layer.group_send(&group("lobby").into(), message).await.map(drop),
                Kind::Union => {
                    let to = Audience::from(group("lobby")).and(group("empty")).and(group("staff"));
                    layer.group_send(&to, message).await.map(drop)
                }
            }
        };
        self.here.soon(send).await
    }

    pub(super) async fn say(&self, number: i64) {
        self.send(numbered(number)).await.expect("the message is taken");
    }

    pub(super) async fn next(&mut self) -> Message {
        match &mut self.receiver {
            Receiver::Mailbox(mailbox) => self.here.soon(mailbox.recv()).await,
            Receiver::Named(messages, _) => self.here.soon(messages.recv()).await.expect("the task receives"),
        }
    }

    /// Checks that these messages, and no others, arrive in this order.
    pub(super) async fn hears(&mut self, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            assert_eq!(number_of(&self.next().await), number, "the next message by {:?}", self.kind);
        }
        self.silent().await;
    }

    /// Checks that no message arrives.
    pub(super) async fn silent(&mut self) {
        let silence = self.here.timing.silence;
        if let Ok(message) = timeout(silence, self.next()).await {
            panic!("no message was to arrive by {:?}, and {message:?} did", self.kind);
        }
    }
}

impl Drop for Path<'_> {
    fn drop(&mut self) {
        if let Receiver::Named(_, task) = &self.receiver {
            task.abort();
        }
    }
}

/// Receives from a named channel in a task. Returns once the layer has begun.
async fn receive_all(there: &Fixture<'_>, channel: ChannelName) -> Receiver {
    let (layer, (taken, messages)) = (there.layer.clone(), unbounded_channel());
    let task = tokio::spawn(async move {
        while let Ok(message) = layer.receive(&channel).await {
            if taken.send(message).is_err() {
                return;
            }
        }
    });
    there.settle().await; // a backend without storage needs a receiver before the first message
    Receiver::Named(messages, task)
}
