//! The documentation's login in an open socket: `login(self.scope, user)`. It saves the session as well.

use std::sync::Arc;

use serde_json::json;
use ws_consumer::{
    Result, Socket,
    middleware::{Auth, Authenticator, Guard, Identity, Proof},
    testing::{BrowserSession, TestApp},
};

async fn chat(mut socket: Socket) -> Result<()> {
    socket.accept().await?;
    socket.next().await?;
    socket.login(Arc::new(User)).await?;
    socket.send_text(socket.scope().session_user_id().await?.unwrap_or_default()).await
}

#[tokio::test(start_paused = true)]
async fn a_message_logs_in() {
    let browser = BrowserSession::new(json!({ "cart": 1 }));
    let app = TestApp::new(Auth::new(Users).login_on_open_sockets().around(chat));
    let mut client = app.websocket("/").with_session(browser.clone());
    client.connect().await.unwrap();
    client.send_to("I am ann").await;
    client.assert_sent("ann").await;
    assert_eq!(browser.get::<String>("_auth_user_id").as_deref(), Some("ann"));
    assert_eq!(browser.get::<u32>("cart"), Some(1));
}

struct User;

impl Identity for User {
    fn id(&self) -> String {
        "ann".to_owned()
    }
}

struct Users;

impl Authenticator for Users {
    type User = User;

    async fn by_id(&self, _: &str) -> Result<Option<Proof<User>>> {
        Ok(Some(Proof::new(User)))
    }
}
