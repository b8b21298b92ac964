//! The consumer of a user's tab.

use serde::{Deserialize, Serialize};
use ws_consumer::{Close, Consumer, Error, Frame, Result, Socket, UsersExt};

use crate::users::{NAMES, User, Users};

/// The close code for a tab that was signed out by another one.
const SIGNED_OUT: u16 = 4403;

/// A tab of a user. `Auth` identifies its connection, so that messages to the user reach all of the user's tabs.
pub(crate) struct Inbox {
    users: Users,
    name: String,
}

impl Inbox {
    pub(crate) fn new(users: Users) -> Self {
        Self { users, name: String::new() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum InboxEvent {
    #[serde(rename = "inbox.message")]
    Message { from: String, to: String, text: String },
}

/// A command of the page.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Command {
    Send { to: String, text: String },
    SignOutEverywhere,
}

impl Consumer for Inbox {
    type Event = InboxEvent;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let user = socket.scope().user::<User>().ok_or_else(|| Error::other("let in by nobody"))?;
        self.name = user.name.clone();
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.json()? {
            Command::Send { to, text } => self.send(socket, to, text).await,
            Command::SignOutEverywhere => {
                self.users.sign_out_everywhere(&self.name);
                let signed_out = Close::new(SIGNED_OUT, "signed out");
                let _report = socket.layer().close_user(&self.name, signed_out).await?;
                Ok(())
            }
        }
    }

    async fn event(&mut self, socket: &mut Socket, event: &InboxEvent) -> Result<()> {
        socket.send_json(event).await
    }
}

impl Inbox {
    async fn send(&self, socket: &mut Socket, to: String, text: String) -> Result<()> {
        if !NAMES.contains(&&*to) {
            return Err(Error::bad_input("nobody has this name"));
        }
        let message = InboxEvent::Message { from: self.name.clone(), to, text };
        let InboxEvent::Message { to, .. } = &message;
        if *to != self.name {
            let _report = socket.layer().send_to_user(to, &message).await?;
        }
        // The sender's other tabs show it, too.
        let _report = socket.layer().send_to_user(&self.name, &message).await?;
        Ok(())
    }
}
