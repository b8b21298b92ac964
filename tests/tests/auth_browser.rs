//! Logins in a real browser: the rights of a session, of a second tab and of a foreign page.

use channels_tests::{Browser, Server, Tab};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const OPEN: &str = "return document.querySelector('#status')?.dataset.state === 'open'";
const ENDED: &str = "return document.querySelector('#status')?.dataset.state === 'ended'";
const TEXTS: &str = "return [...document.querySelectorAll('#log .text')].map((text) => text.textContent)";

async fn log_in<'a>(browser: &'a Browser, server: &Server, name: &str) -> Tab<'a> {
    let tab = browser.open(&server.http("/")).await;
    assert_eq!(tab.url().await, server.http("/login"), "a stranger is sent to the login");
    submit_login(&tab, name, &format!("{name}-secret")).await;
    tab.until("the socket opens", OPEN).await;
    tab
}

async fn submit_login(tab: &Tab<'_>, name: &str, password: &str) {
    tab.fill("username", name).await;
    tab.fill("password", password).await;
    tab.click("login").await;
}

async fn again<'a>(browser: &'a Browser, server: &Server) -> Tab<'a> {
    let tab = browser.open(&server.http("/")).await;
    tab.until("the socket opens", OPEN).await;
    tab
}

async fn say(tab: &Tab<'_>, to: &str, text: &str) {
    tab.eval("document.querySelector('#to').value = arguments[0]", vec![json!(to)]).await;
    tab.fill("text", text).await;
    tab.click("send").await;
}

async fn until_texts(tab: &Tab<'_>, texts: &[&str]) {
    let all = json!(texts).to_string().replace('\\', "\\\\").replace('\'', "\\'");
    let script = TEXTS.strip_prefix("return ").expect("a function's body");
    tab.until("messages arrive", &format!("return JSON.stringify({script}) === '{all}'")).await;
}

#[tokio::test]
async fn messages_reach_both_users_tabs() {
    let server = Server::auth(3600).await;
    let (anns, bobs, eves) = (Browser::start().await, Browser::start().await, Browser::start().await);
    let ann = log_in(&anns, &server, "ann").await;
    let second = again(&anns, &server).await;
    let bob = log_in(&bobs, &server, "bob").await;
    let eve = log_in(&eves, &server, "eve").await;
    say(&ann, "bob", "for bob").await;
    for tab in [&ann, &second, &bob] {
        until_texts(tab, &["for bob"]).await;
    }
    say(&bob, "eve", "for eve").await;
    until_texts(&eve, &["for eve"]).await;
    until_texts(&bob, &["for bob", "for eve"]).await;
    assert_eq!(ann.eval(TEXTS, Vec::new()).await, json!(["for bob"]));
}

#[tokio::test]
async fn a_wrong_password_lets_nobody_in() {
    let server = Server::auth(3600).await;
    let browser = Browser::start().await;
    let tab = browser.open(&server.http("/")).await;
    submit_login(&tab, "ann", "bob-secret").await;
    tab.until("the form tells", "return document.querySelector('#problem').innerText !== ''").await;
    tab.goto(&server.http("/")).await;
    assert_eq!(tab.url().await, server.http("/login"));
}

#[tokio::test]
async fn scripts_cannot_read_the_cookie() {
    let server = Server::auth(3600).await;
    let browser = Browser::start().await;
    let tab = log_in(&browser, &server, "ann").await;
    assert_eq!(tab.eval("return document.cookie", Vec::new()).await, json!(""));
}

#[tokio::test]
async fn one_tab_signs_out_all_others() {
    let server = Server::auth(3600).await;
    let (here, there) = (Browser::start().await, Browser::start().await);
    let first = log_in(&here, &server, "ann").await;
    let second = again(&here, &server).await;
    let elsewhere = log_in(&there, &server, "ann").await;
    let bystander = log_in(&Browser::start().await, &server, "bob").await.url().await;
    assert_eq!(bystander, server.http("/"));
    first.click("everywhere").await;
    for tab in [&first, &second, &elsewhere] {
        tab.until("the tab is signed out", ENDED).await;
        tab.goto(&server.http("/")).await;
        assert_eq!(tab.url().await, server.http("/login"), "the session is worth nothing any more");
    }
}

#[tokio::test]
async fn logout_closes_other_tabs() {
    let server = Server::auth(3600).await;
    let browser = Browser::start().await;
    let first = log_in(&browser, &server, "ann").await;
    let second = again(&browser, &server).await;
    first.click("logout").await;
    second.until("the other tab notices", ENDED).await;
    assert_eq!(first.url().await, server.http("/login"));
}

#[tokio::test]
async fn a_login_ends_in_its_time() {
    let server = Server::auth(15).await;
    let browser = Browser::start().await;
    let tab = log_in(&browser, &server, "ann").await;
    tab.until("the login ends", ENDED).await;
    let told = tab.eval("return document.querySelector('#status').innerText", Vec::new()).await;
    assert_eq!(told, json!("Your login has ended"));
}

// The pages are of one site (ports do not count), so the browser sends the cookie: only the origin differs.
#[tokio::test]
async fn foreign_pages_cannot_use_a_login() {
    let server = Server::auth(3600).await;
    let browser = Browser::start().await;
    let own = log_in(&browser, &server, "ann").await;
    let (evil, _page) = serve_page("<!doctype html><p>evil</p>").await;
    let tab = browser.open(&evil).await;
    let script = "window.outcome = ''; const socket = new WebSocket(arguments[0]);
        socket.onopen = () => { window.outcome = 'opened'; };
        socket.onclose = () => { window.outcome ||= 'refused'; };";
    tab.eval(script, vec![json!(server.ws("/ws/inbox/"))]).await;
    tab.until("the socket opens or not", "return window.outcome !== ''").await;
    assert_eq!(tab.eval("return window.outcome", Vec::new()).await, json!("refused"));
    // Its form could log the user out, or in as another user.
    let script =
        "window.done = ''; fetch(arguments[0], { method: 'POST', mode: 'no-cors', credentials: 'include' })
        .then(() => { window.done = 'sent'; }, () => { window.done = 'failed'; });";
    tab.eval(script, vec![json!(server.http("/logout"))]).await;
    tab.until("the request is answered", "return window.done !== ''").await;
    say(&own, "ann", "still here").await;
    until_texts(&own, &["still here"]).await;
    own.goto(&server.http("/")).await;
    assert_eq!(own.url().await, server.http("/"), "and still logged in");
}

/// A page of another origin on this site, served until the handle is dropped.
async fn serve_page(html: &'static str) -> (String, JoinSet<()>) {
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
    (format!("http://{address}/"), task)
}
