//! The page with every transport, in a real browser.

use std::collections::BTreeMap;

use channels_tests::{Browser, Server, Tab, ask};
use serde_json::{Value, json};

// In this program, because linking another one takes time.
#[path = "browser/contexts.rs"]
mod contexts;

const TRANSPORTS: [&str; 4] = ["poll", "long-poll", "event-stream", "websocket"];
const ALL_OPEN: &str = "return document.querySelectorAll('.status[data-state=open]').length === 4";

async fn enter<'a>(browser: &'a Browser, server: &Server) -> Tab<'a> {
    let tab = browser.open(&server.http("/")).await;
    tab.until("all four are open", ALL_OPEN).await;
    tab
}

/// The messages that a panel has received, each with the sending panel.
async fn heard(tab: &Tab<'_>, panel: &str) -> Value {
    let script = "return [...document.querySelectorAll(`#panel-${arguments[0]} .line`)]
        .map((line) => `${line.querySelector('.who').dataset.from}: ${line.querySelector('.said').textContent}`)";
    tab.eval(script, vec![json!(panel)]).await
}

async fn until_heard(tab: &Tab<'_>, panel: &str, count: usize) {
    let script = format!("return document.querySelectorAll('#panel-{panel} .line').length >= {count}");
    tab.until(&format!("{panel} hears {count}"), &script).await;
}

async fn cost(tab: &Tab<'_>, panel: &str, name: &str) -> String {
    let script = format!("return document.querySelector('#panel-{panel} [data-cost={name}]').textContent");
    tab.eval(&script, Vec::new()).await.as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn all_four_transports_meet() {
    let server = Server::transports().await;
    let browser = Browser::start().await;
    let tab = enter(&browser, &server).await;
    let mut expected = Vec::new();
    for name in TRANSPORTS {
        tab.fill(&format!("input-{name}"), &format!("by {name}")).await;
        tab.click(&format!("send-{name}")).await;
        expected.push(format!("{name}: by {name}"));
        // One after the other, so that there is one order.
        until_heard(&tab, "websocket", expected.len()).await;
    }
    for name in TRANSPORTS {
        until_heard(&tab, name, 4).await;
        assert_eq!(heard(&tab, name).await, json!(expected), "{name}");
        tab.until(
            "delays are shown",
            &format!(
                "return document.querySelector('#panel-{name} [data-cost=median]').textContent.endsWith('s')"
            ),
        )
        .await;
    }
    assert_eq!(cost(&tab, "websocket", "requests").await, "1");
    let requests: usize = cost(&tab, "poll", "requests").await.parse().expect("a number");
    assert!(requests > 2, "polls are counted: {requests}");

    let stats = ask(server.address, "/stats", &[]).await;
    let stats: BTreeMap<String, usize> = serde_json::from_str(&stats.body).expect("counts");
    assert_eq!(stats, TRANSPORTS.iter().map(|name| ((*name).to_owned(), 1)).collect());
}

#[tokio::test]
async fn offline_panel_misses_nothing() {
    let server = Server::transports().await;
    let browser = Browser::start().await;
    let tab = enter(&browser, &server).await;
    for name in TRANSPORTS {
        tab.click(&format!("offline-{name}")).await;
    }
    tab.until(
        "all four are offline",
        "return document.querySelectorAll('.status[data-state=offline]').length === 4",
    )
    .await;
    let mut expected = Vec::new();
    for name in TRANSPORTS {
        tab.fill(&format!("input-{name}"), &format!("by {name}\u{e007}")).await;
    }
    for name in TRANSPORTS {
        tab.click(&format!("offline-{name}")).await;
        expected.push(format!("{name}: by {name}"));
        until_heard(&tab, name, expected.len()).await;
    }
    for name in TRANSPORTS {
        until_heard(&tab, name, 4).await;
        assert_eq!(heard(&tab, name).await, json!(expected), "{name}");
        let notes = format!(
            "return [...document.querySelectorAll('#panel-{name} .note')].map((note) => note.textContent)"
        );
        assert_eq!(tab.eval(&notes, Vec::new()).await, json!(["Resumed: nothing is missing."]), "{name}");
    }
}
