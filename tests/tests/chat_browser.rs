//! The chat's page in a real browser.

use std::net::SocketAddr;

use channels_tests::{Browser, Lane, Redis, Server, Tab};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const OPEN: &str = "return document.querySelector('#status').dataset.state === 'open'";
const CLOSED: &str = "return document.querySelector('#status').dataset.state === 'closed'";
const TEXTS: &str =
    "return [...document.querySelectorAll('#log .message .text')].map((text) => text.textContent)";

async fn enter<'a>(browser: &'a Browser, server: &Server, room: &str) -> Tab<'a> {
    let tab = browser.open(&server.http(&format!("/chat/{room}/"))).await;
    tab.until("the room opens", OPEN).await;
    tab
}

async fn say(tab: &Tab<'_>, text: &str) {
    tab.fill("message-input", text).await;
    tab.click("message-submit").await;
}

async fn until_messages(tab: &Tab<'_>, count: usize) {
    tab.until("messages arrive", &format!("return document.querySelectorAll('.message').length === {count}"))
        .await;
}

async fn status_text(tab: &Tab<'_>) -> String {
    let text = tab.eval("return document.querySelector('#status').innerText", Vec::new()).await;
    text.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn tabs_tell_senders_apart() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let ann = enter(&browser, &server, "lobby").await;
    let bob = enter(&browser, &server, "lobby").await;
    assert_eq!(status_text(&bob).await, "Open");
    say(&ann, "Hello, 汉字!").await;
    until_messages(&bob, 1).await;
    assert_eq!(bob.eval(TEXTS, Vec::new()).await, json!(["Hello, 汉字!"]));
    // The Enter key also sends.
    bob.fill("message-input", "Hello yourself.\u{e007}").await;
    until_messages(&ann, 2).await;
    assert_eq!(ann.eval(TEXTS, Vec::new()).await, json!(["Hello, 汉字!", "Hello yourself."]));
    let own = "return [...document.querySelectorAll('.message')].map((m) => m.classList.contains('own'))";
    assert_eq!(ann.eval(own, Vec::new()).await, json!([true, false]));
    assert_eq!(bob.eval(own, Vec::new()).await, json!([false, true]));
}

#[tokio::test]
async fn foreign_text_is_escaped() {
    let server = Server::chat(Lane::Frame).await;
    let browser = Browser::start().await;
    let ann = enter(&browser, &server, "lobby").await;
    let bob = enter(&browser, &server, "lobby").await;
    let markup = "<b>x</b><img src=x onerror=\"document.title='taken'\">&amp;";
    say(&ann, markup).await;
    until_messages(&bob, 1).await;
    assert_eq!(bob.eval(TEXTS, Vec::new()).await, json!([markup]));
    let elements = "return document.querySelectorAll('#log b, #log img').length";
    assert_eq!(bob.eval(elements, Vec::new()).await, json!(0));
    assert_ne!(bob.eval("return document.title", Vec::new()).await, json!("taken"));
}

#[tokio::test]
async fn csp_allows_the_style() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let display = "return getComputedStyle(document.body).display";
    let first = browser.open(&server.http("/")).await;
    assert_eq!(first.eval(display, Vec::new()).await, json!("grid"));
    let room = enter(&browser, &server, "lobby").await;
    assert_eq!(room.eval(display, Vec::new()).await, json!("flex"));
}

#[tokio::test]
async fn manual_close_keeps_typed_text() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let tab = enter(&browser, &server, "lobby").await;
    tab.click("close").await;
    tab.until("the socket closes", CLOSED).await;
    assert_eq!(status_text(&tab).await, "Closed");
    tab.fill("message-input", "not lost\u{e007}").await;
    let input = "return document.querySelector('#message-input').value";
    assert_eq!(tab.eval(input, Vec::new()).await, json!("not lost"));
    let disabled = "return document.querySelector('#message-submit').disabled";
    assert_eq!(tab.eval(disabled, Vec::new()).await, json!(true));
    tab.click("connect").await;
    tab.until("the socket opens again", OPEN).await;
    tab.click("message-submit").await;
    until_messages(&tab, 1).await;
    assert_eq!(tab.eval(TEXTS, Vec::new()).await, json!(["not lost"]));
    assert_eq!(tab.eval(input, Vec::new()).await, json!(""));
}

#[tokio::test]
async fn page_reconnects_by_itself() {
    let mut server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let tab = enter(&browser, &server, "lobby").await;
    say(&tab, "before").await;
    until_messages(&tab, 1).await;
    let address = server.address.to_string();
    server.program.kill().await;
    tab.until("the page notices", "return document.querySelector('#status').dataset.state !== 'open'").await;
    let _again = Server::chat_on(&address, Lane::Handler).await;
    tab.until("the page comes back", OPEN).await;
    say(&tab, "after").await;
    until_messages(&tab, 2).await;
    assert_eq!(tab.eval(TEXTS, Vec::new()).await, json!(["before", "after"]));
}

#[tokio::test]
async fn room_names_may_be_any_script() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let tab = browser.open(&server.http("/")).await;
    tab.fill("room-input", "汉字").await;
    tab.click("room-submit").await;
    tab.until("the room opens", "return document.querySelector('#status')?.dataset.state === 'open'").await;
    assert_eq!(tab.url().await, server.http("/chat/u-e6b189e5ad97/"));
    assert_eq!(tab.eval("return document.querySelector('h1').innerText", Vec::new()).await, json!("汉字"));
}

#[tokio::test]
async fn distinct_names_are_distinct_rooms() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let tab = browser.open(&server.http("/")).await;
    // The second would equal the first if names that look encoded were kept as they are; the last two would be steps
    // in a path.
    let names =
        [("汉", "u-e6b189"), ("u-e6b189", "u-752d653662313839"), ("a b", "u-612062"), ("..", "u-2e2e")];
    for (name, room) in names {
        tab.goto(&server.http("/")).await;
        tab.fill("room-input", name).await;
        tab.click("room-submit").await;
        tab.until("the room opens", "return document.querySelector('#status')?.dataset.state === 'open'")
            .await;
        assert_eq!(tab.url().await, server.http(&format!("/chat/{room}/")), "name {name:?}");
        let title = tab.eval("return document.querySelector('h1').innerText", Vec::new()).await;
        assert_eq!(title, json!(name));
    }
}

#[tokio::test]
async fn form_rejects_long_names() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let tab = browser.open(&server.http("/")).await;
    for name in ["x".repeat(95), "汉".repeat(16)] {
        tab.goto(&server.http("/")).await;
        tab.fill("room-input", &name).await;
        tab.click("room-submit").await;
        let told = "return document.querySelector('#room-error').innerText.startsWith('Too long')";
        tab.until("the form tells", told).await;
        assert_eq!(tab.url().await, server.http("/"));
    }
}

// A page of another origin runs in the user's browser, with the user's cookies: the server must refuse it.
#[tokio::test]
async fn foreign_pages_open_no_socket() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let (foreign, _page) = serve_page("<!doctype html><p>foreign</p>").await;
    let tab = browser.open(&format!("http://{foreign}/")).await;
    let script = "window.outcome = ''; const socket = new WebSocket(arguments[0]);
        socket.onopen = () => { window.outcome = 'opened'; };
        socket.onclose = (event) => { window.outcome ||= 'refused'; };";
    tab.eval(script, vec![json!(server.ws("/ws/chat/lobby/"))]).await;
    tab.until("the socket opens or not", "return window.outcome !== ''").await;
    assert_eq!(tab.eval("return window.outcome", Vec::new()).await, json!("refused"));
}

/// A page of another origin, served until the handle is dropped.
async fn serve_page(html: &'static str) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the port is known");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", html.len());
    let answer = format!("{head}Connection: close\r\n\r\n{html}");
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The request is small and comes at once; its target does not matter.
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok() {
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        }
    });
    (address, task)
}

// The notice is only for the server's answers to messages of this page.
#[tokio::test]
async fn page_shows_server_errors() {
    let mut redis = Redis::start().await;
    let server = Server::chat_with_layer(&redis.url(), Lane::Handler).await;
    let browser = Browser::start().await;
    let tab = enter(&browser, &server, "lobby").await;
    redis.kill().await;
    say(&tab, "does anybody hear me?").await;
    tab.until("the notice appears", "return document.querySelector('#notice').innerText !== ''").await;
    tab.until("the connection lives", OPEN).await;
}

#[tokio::test]
async fn lone_surrogates_are_replaced() {
    let server = Server::chat(Lane::Handler).await;
    let browser = Browser::start().await;
    let tab = enter(&browser, &server, "lobby").await;
    // It cannot be typed, but pasted.
    tab.eval("document.querySelector('#message-input').value = 'half \\ud83d'", Vec::new()).await;
    tab.click("message-submit").await;
    until_messages(&tab, 1).await;
    assert_eq!(tab.eval(TEXTS, Vec::new()).await, json!(["half \u{fffd}"]));
    let pending = "return document.querySelectorAll('.pending').length";
    assert_eq!(tab.eval(pending, Vec::new()).await, json!(0), "it is known as one's own");
}
