//! The chat's page and faults: proxies without WebSockets, networks that fail, servers that restart.

use std::time::Duration;

use channels_tests::{Browser, Lane, Member, Proxy, Redis, Server, Signal, Tab, Upgrades};
use serde_json::{Value, json};

const OPEN: &str = "return document.querySelector('#status').dataset.state === 'open'";
const TRANSPORT: &str = "return document.querySelector('#transport').innerText";
const TEXTS: &str =
    "return [...document.querySelectorAll('#log .message .text')].map((text) => text.textContent)";
const MISSING: &str = "return document.querySelectorAll('.mark-missing').length";
const PENDING: &str = "return document.querySelectorAll('.pending').length";
/// Keeps every state that the page shows.
const WATCH: &str = "const status = document.querySelector('#status');
    window.states = [];
    new MutationObserver(() => window.states.push(status.dataset.state)).observe(status, { attributes: true });";

/// Makes a wait of some seconds never end by itself.
const HOLD: &str = "const { setTimeout } = window;
    window.held = 0;
    Math.random = () => 0.99;
    window.setTimeout = (callback, delay, ...rest) =>
        delay > 3000 ? void (window.held += 1) : setTimeout(callback, delay, ...rest);";

async fn enter<'a>(browser: &'a Browser, proxy: &Proxy) -> Tab<'a> {
    let tab = browser.open(&proxy.http("/chat/lobby/")).await;
    tab.until("the room opens", OPEN).await;
    tab
}

async fn say(tab: &Tab<'_>, text: &str) {
    tab.fill("message-input", &format!("{text}\u{e007}")).await;
}

async fn until_texts(tab: &Tab<'_>, count: usize) {
    let script = format!("return document.querySelectorAll('#log .message').length >= {count}");
    tab.until("the messages arrive", &script).await;
}

async fn until_state(tab: &Tab<'_>, state: &str) {
    let script = format!("return document.querySelector('#status').dataset.state === '{state}'");
    tab.until(&format!("the state is {state}"), &script).await;
}

async fn both_ways(tab: &Tab<'_>, other: &mut Member) {
    say(tab, "up").await;
    assert_eq!(other.hear().await, "up");
    other.say("down").await;
    assert_eq!(other.hear().await, "down");
    until_texts(tab, 2).await;
    assert_eq!(tab.eval(TEXTS, Vec::new()).await, json!(["up", "down"]));
}

#[tokio::test]
async fn falls_back_without_upgrades() {
    let browser = Browser::start().await;
    for (upgrades, lane, left) in [
        (Upgrades::Refuse, Lane::Handler, "Event stream"),
        (Upgrades::Strip, Lane::Frame, "Event stream"),
        (Upgrades::RefuseAndStreams, Lane::Handler, "Long polls"),
    ] {
        let server = Server::chat(lane).await;
        let mut other = Member::join(&server, "lobby").await;
        let proxy = Proxy::start(server.address, upgrades).await;
        let tab = enter(&browser, &proxy).await;
        assert_eq!(tab.eval(TRANSPORT, Vec::new()).await, json!(left), "{upgrades:?}");
        both_ways(&tab, &mut other).await;
    }
}

#[tokio::test]
async fn gives_up_unanswered_upgrades() {
    let browser = Browser::start().await;
    let server = Server::chat(Lane::Handler).await;
    let mut other = Member::join(&server, "lobby").await;
    let proxy = Proxy::start(server.address, Upgrades::Hang).await;
    let tab = enter(&browser, &proxy).await;
    assert_eq!(tab.eval(TRANSPORT, Vec::new()).await, json!("Event stream"));
    both_ways(&tab, &mut other).await;
}

#[tokio::test]
async fn offline_messages_are_sent_once() {
    let browser = Browser::start().await;
    let server = Server::chat(Lane::Handler).await;
    let mut other = Member::join(&server, "lobby").await;
    let proxy = Proxy::start(server.address, Upgrades::Pass).await;
    let tab = enter(&browser, &proxy).await;
    tab.set_offline(true).await;
    until_state(&tab, "offline").await;
    other.say("missed?").await;
    assert_eq!(other.hear().await, "missed?");
    say(&tab, "later").await;
    assert_eq!(tab.eval(PENDING, Vec::new()).await, json!(1));
    tab.set_offline(false).await;
    until_state(&tab, "open").await;
    until_texts(&tab, 2).await;
    assert_eq!(tab.eval(TEXTS, Vec::new()).await, json!(["missed?", "later"]));
    assert_eq!(other.hear().await, "later");
    assert_eq!(tab.eval(PENDING, Vec::new()).await, json!(0));
    assert_eq!(tab.eval(MISSING, Vec::new()).await, json!(0), "the session was resumed");
}

#[tokio::test]
async fn restart_reports_the_gap() {
    let browser = Browser::start().await;
    let mut server = Server::chat(Lane::Handler).await;
    let address = server.address.to_string();
    let tab = browser.open(&server.http("/chat/lobby/")).await;
    tab.until("the room opens", OPEN).await;
    tab.eval(WATCH, Vec::new()).await;
    for signal in [Signal::KILL, Signal::TERM] {
        server.program.signal(signal);
        server.program.wait().await;
        until_state(&tab, "reconnecting").await;
        say(&tab, "for whoever comes").await;
        server = Server::chat_on(&address, Lane::Handler).await;
        until_state(&tab, "open").await;
    }
    until_texts(&tab, 2).await;
    assert_eq!(tab.eval("return window.states", Vec::new()).await, expected_states());
    assert_eq!(tab.eval(MISSING, Vec::new()).await, json!(2));
    assert_eq!(tab.eval(TRANSPORT, Vec::new()).await, json!("WebSocket"));
    assert_eq!(tab.eval(PENDING, Vec::new()).await, json!(0));
}

fn expected_states() -> Value {
    json!(["reconnecting", "open", "reconnecting", "open"])
}

#[tokio::test]
async fn uncertain_messages_can_be_resent() {
    let browser = Browser::start().await;
    let mut server = Server::chat(Lane::Frame).await;
    let address = server.address.to_string();
    let tab = browser.open(&server.http("/chat/lobby/")).await;
    tab.until("the room opens", OPEN).await;
    // It arrives at a process that never handles it.
    server.program.signal(Signal::STOP);
    say(&tab, "is this lost?").await;
    assert_eq!(tab.eval(PENDING, Vec::new()).await, json!(1));
    server.program.kill().await;
    let server = Server::chat_on(&address, Lane::Frame).await;
    tab.until("the page doubts it", "return document.querySelector('.again') !== null").await;
    tab.until("the room opens", OPEN).await;
    let mut other = Member::join(&server, "lobby").await;
    tab.eval("document.querySelector('.again').click()", Vec::new()).await;
    assert_eq!(other.hear().await, "is this lost?");
    until_texts(&tab, 1).await;
    assert_eq!(tab.eval(PENDING, Vec::new()).await, json!(0));
}

/// The number of messages of each of the two: together less than a mailbox holds, so that none is lost on a busy machine.
const SAID: usize = 45;
const CUTS: usize = 4;
/// The interval between two messages.
const PAUSE: Duration = Duration::from_millis(40);

#[tokio::test]
async fn cuts_lose_and_double_nothing() {
    let browser = Browser::start().await;
    for upgrades in [Upgrades::Pass, Upgrades::Refuse, Upgrades::RefuseAndStreams] {
        let server = Server::chat(Lane::Handler).await;
        let proxy = Proxy::start(server.address, upgrades).await;
        talk_through_cuts(&browser, &server, &proxy, &format!("{upgrades:?}")).await;
    }
}

// Each connection that a page opens goes to the other process.
#[tokio::test]
async fn cuts_across_processes_lose_nothing() {
    let redis = Redis::start().await;
    let browser = Browser::start().await;
    let servers = [
        Server::chat_with_layer(&redis.url(), Lane::Handler).await,
        Server::chat_with_layer(&redis.url(), Lane::Handler).await,
    ];
    for upgrades in [Upgrades::Pass, Upgrades::Refuse, Upgrades::RefuseAndStreams] {
        let proxy = Proxy::between(servers.iter().map(|server| server.address).collect(), upgrades).await;
        talk_through_cuts(&browser, &servers[0], &proxy, &format!("two processes, {upgrades:?}")).await;
    }
}

async fn talk_through_cuts(browser: &Browser, server: &Server, proxy: &Proxy, told: &str) {
    let tab = enter(browser, proxy).await;
    let mut other = Member::join(server, "lobby").await;
    tab.eval(WATCH, Vec::new()).await;
    talk_from(&tab).await;
    for n in 0..SAID {
        other.say(&format!("down {n}")).await;
        tokio::time::sleep(PAUSE).await;
        if n % (SAID / CUTS) == SAID / CUTS / 2 {
            proxy.cut();
        }
    }
    until_texts(&tab, 2 * SAID).await;
    // Time for duplicates to arrive.
    tab.until("nothing is on its way", &format!("{PENDING} === 0")).await;
    assert_eq!(tab.eval(MISSING, Vec::new()).await, json!(0), "{told}");
    // Chromium repeats polls that were cut, unseen by the page; the server must not handle them twice.
    if tab.eval(TRANSPORT, Vec::new()).await != json!("Long polls") {
        let states = strings(tab.eval("return window.states", Vec::new()).await);
        assert!(states.contains(&"reconnecting".to_owned()), "{told}: nothing was cut");
    }
    let mut heard = Vec::new();
    for _ in 0..2 * SAID {
        heard.push(other.hear().await);
    }
    assert_complete(&heard, "the other member");
    assert_complete(&strings(tab.eval(TEXTS, Vec::new()).await), told);
    // It would receive the next one's messages.
    tab.click("close").await;
}

/// Asserts that the messages of each of the two are here, once and in order. The order between the two is free.
fn assert_complete(texts: &[String], told: &str) {
    assert_eq!(texts.len(), 2 * SAID, "{told}: {texts:?}");
    for direction in ["up", "down"] {
        let of: Vec<_> = texts.iter().filter(|text| text.starts_with(direction)).cloned().collect();
        let said: Vec<_> = (0..SAID).map(|n| format!("{direction} {n}")).collect();
        assert_eq!(of, said, "{told}");
    }
}

/// Makes the page send messages continuously.
async fn talk_from(tab: &Tab<'_>) {
    let script = "let said = 0;
        const timer = setInterval(() => {
          document.querySelector('#message-input').value = `up ${said}`;
          document.querySelector('#message-form').requestSubmit();
          said += 1;
          if (said === arguments[0]) clearInterval(timer);
        }, arguments[1]);";
    tab.eval(script, vec![json!(SAID), json!(PAUSE.as_millis())]).await;
}

fn strings(value: Value) -> Vec<String> {
    serde_json::from_value(value).expect("texts")
}

#[tokio::test]
async fn button_reconnects_at_once() {
    let browser = Browser::start().await;
    let mut server = Server::chat(Lane::Handler).await;
    let address = server.address.to_string();
    let tab = browser.open(&server.http("/chat/lobby/")).await;
    tab.until("the room opens", OPEN).await;
    tab.eval(HOLD, Vec::new()).await;
    server.program.signal(Signal::KILL);
    server.program.wait().await;
    tab.until("it waits", "return window.held > 0").await;
    let _server = Server::chat_on(&address, Lane::Handler).await;
    assert_eq!(tab.eval(OPEN, Vec::new()).await, json!(false));
    tab.click("retry").await;
    until_state(&tab, "open").await;
    tab.until("there is nothing to retry", "return document.querySelector('#retry').hidden").await;
}
