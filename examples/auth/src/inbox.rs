//! What a tab of a user receives and sends.

use serde::{Deserialize, Serialize};
use ws_consumer::{Close, Consumer, Error, Frame, Result, Socket};

use crate::users::{NAMES, User, Users};

/// The close code for a tab that was signed out by another one.
const SIGNED_OUT: u16 = 4403;

/// One tab. All tabs of a user are in one group.
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
pub(crate) enum News {
    #[serde(rename = "inbox.message")]
    Message { from: String, to: String, text: String },
    #[serde(rename = "inbox.signed_out")]
    SignedOut,
}

/// What the page asks for.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wish {
    Send { to: String, text: String },
    SignOutEverywhere,
}

impl Consumer for Inbox {
    type Event = News;

    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        let user = socket.scope().user::<User>().ok_or_else(|| Error::other("let in by nobody"))?;
        self.name = user.name.clone();
        socket.group_add(group_of(&self.name)).await?;
        socket.accept().await
    }

    async fn receive(&mut self, socket: &mut Socket, frame: Frame) -> Result<()> {
        match frame.json()? {
            Wish::Send { to, text } => self.send(socket, to, text).await,
            Wish::SignOutEverywhere => {
                self.users.sign_out_everywhere(&self.name);
                socket.group_send(group_of(&self.name), &News::SignedOut).await
            }
        }
    }

    async fn event(&mut self, socket: &mut Socket, news: &News) -> Result<()> {
        match news {
            News::Message { .. } => socket.send_json(news).await,
            News::SignedOut => socket.close(Close::new(SIGNED_OUT, "signed out")).await,
        }
    }
}

impl Inbox {
    async fn send(&self, socket: &mut Socket, to: String, text: String) -> Result<()> {
        if !NAMES.contains(&&*to) {
            return Err(Error::bad_input("nobody has this name"));
        }
        let message = News::Message { from: self.name.clone(), to, text };
        let News::Message { to, .. } = &message else { return Ok(()) };
        if *to != self.name {
            socket.group_send(group_of(to), &message).await?;
        }
        // One's own tabs show it, too.
        socket.group_send(group_of(&self.name), &message).await
    }
}

fn group_of(name: &str) -> String {
    format!("user_{name}")
}
