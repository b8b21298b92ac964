//! The auction in two processes on one Redis, behind nginx.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::http::{ask, post_form};
use crate::nginx::{Nginx, SERVED_BY};
use crate::redis::Redis;
use crate::server::Server;
use crate::within;

/// Two processes of the auction. The first one is the house.
#[derive(Debug)]
pub struct Auction {
    /// The address of nginx.
    pub address: SocketAddr,
    /// The processes.
    pub servers: [Server; 2],
    _nginx: Nginx,
    redis: Redis,
}

impl Auction {
    /// Opens it, with lots that end one interval apart.
    pub async fn open(interval: Duration) -> Self {
        let redis = Redis::start().await;
        let house = Server::auction(&redis.url(), Some(interval)).await;
        let servers = [house, Server::auction(&redis.url(), None).await];
        let nginx = Nginx::start(&servers.each_ref().map(|server| server.address)).await;
        Self { address: nginx.address, servers, _nginx: nginx, redis }
    }

    /// Starts the second process again at the same address, after its end.
    pub async fn start_second_again(&mut self) {
        let address = self.servers[1].address.to_string();
        self.servers[1] = Server::auction_on(&address, &self.redis.url(), None).await;
    }

    /// The address of a page.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Logs a user in, and returns the cookie.
    pub async fn log_in(&self, user: &str) -> String {
        let form = format!("username={user}&password={user}-secret");
        let answer = post_form(self.address, "/login", &[], &form).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        cookie.expect("a login sets a cookie").to_owned()
    }

    /// The user of a cookie, as each process knows it.
    pub async fn users(&self, cookie: &str) -> [Value; 2] {
        let line = format!("Cookie: {cookie}");
        let mut users = BTreeMap::new();
        while users.len() < 2 {
            let answer = ask(self.address, "/api/me", &[&line]).await;
            let process = answer.header(SERVED_BY).expect("nginx names the process").to_owned();
            users.insert(process, serde_json::from_str(&answer.body).expect("JSON"));
        }
        self.in_order(users)
    }

    /// Opens the socket of a lot in each process.
    pub async fn view(&self, cookie: &str, lot: u32) -> [Viewer; 2] {
        let mut viewers = BTreeMap::new();
        while viewers.len() < 2 {
            let viewer = Viewer::open(self.address, cookie, lot).await.expect("the lot exists");
            viewers.insert(viewer.process.clone(), viewer);
        }
        self.in_order(viewers)
    }

    fn in_order<T>(&self, mut found: BTreeMap<String, T>) -> [T; 2] {
        let mut take = |server: &Server| found.remove(&server.address.to_string());
        self.servers.each_ref().map(|server| take(server).expect("both processes have served"))
    }
}

/// The socket of a lot.
#[derive(Debug)]
pub struct Viewer {
    socket: WebSocketStream<TcpStream>,
    process: String,
}

impl Viewer {
    /// Opens it. An empty cookie is that of a stranger.
    ///
    /// # Errors
    /// The status of a refusal.
    pub async fn open(address: SocketAddr, cookie: &str, lot: u32) -> Result<Self, u16> {
        let request = format!("ws://{address}/ws/lots/{lot}").into_client_request();
        let mut request = request.expect("a valid address");
        for (name, value) in [("cookie", cookie), ("origin", &format!("http://{address}"))] {
            request.headers_mut().insert(name, value.parse().expect("a valid header"));
        }
        let stream = TcpStream::connect(address).await.expect("nginx accepts connections");
        let opening = tokio_tungstenite::client_async(request, stream);
        match within("a lot's socket", opening).await {
            Ok((socket, answer)) => {
                let process = answer.headers().get(SERVED_BY).expect("nginx names the process");
                Ok(Self { socket, process: process.to_str().expect("an address").to_owned() })
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("the socket does not open: {error}"),
        }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        loop {
            let frame = within("a frame", self.socket.next()).await.expect("an open socket");
            match frame.expect("no fault") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// The next state of the lot.
    pub async fn next_lot(&mut self) -> Value {
        loop {
            let mut frame = self.next().await;
            if frame["type"] == "changed" {
                return frame["lot"].take();
            }
        }
    }

    /// Bids, and returns the reply. States of the lot before it are skipped.
    pub async fn bid(&mut self, amount: u64) -> Value {
        let request = json!({ "ref": amount, "request": { "amount": amount } }).to_string();
        within("a bid", self.socket.send(Message::text(request))).await.expect("the server reads");
        loop {
            let frame = self.next().await;
            if frame["ref"] == amount {
                return frame;
            }
        }
    }
}
