//! Work in the background, seen from a real browser.

use channels_tests::{Browser, Server};
use serde_json::json;

const READY: &str = "return !document.querySelector('#build').disabled";

#[tokio::test]
async fn progress_bar_follows_the_report() {
    let server = Server::worker().await;
    let browser = Browser::start().await;
    let tab = browser.open(&server.http("/")).await;
    tab.until("the socket opens", READY).await;
    // Keeps every position of the bar.
    let watch = "window.seen = []; const bar = document.querySelector('#bar');
        new MutationObserver(() => { if (bar.value > 0) window.seen.push(bar.value); })
            .observe(bar, { attributes: true });";
    tab.eval(watch, Vec::new()).await;
    tab.click("build").await;
    let told = "return document.querySelector('#told').innerText";
    tab.until("the report is ready", &format!("{told}.startsWith('Ready')")).await;
    assert_eq!(tab.eval(told, Vec::new()).await, json!("Ready: 100 rows, the sum is 5050."));
    let seen = tab.eval("return window.seen", Vec::new()).await;
    let seen: Vec<f64> = serde_json::from_value(seen).expect("numbers");
    assert!(seen.len() > 10 && seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&100.0));
}

#[tokio::test]
async fn tabs_see_only_their_reports() {
    let server = Server::worker().await;
    let browser = Browser::start().await;
    let mut tabs = Vec::new();
    for rows in [30, 60] {
        let tab = browser.open(&server.http("/")).await;
        tab.until("the socket opens", READY).await;
        tab.eval("document.querySelector('#rows').value = arguments[0]", vec![json!(rows)]).await;
        tab.click("build").await;
        tabs.push((rows, tab));
    }
    for (rows, tab) in &tabs {
        let ready =
            format!("return document.querySelector('#told').innerText.startsWith('Ready: {rows} rows')");
        tab.until("the report is ready", &ready).await;
    }
}

#[tokio::test]
async fn stop_finishes_the_current_report() {
    let mut server = Server::worker().await;
    let browser = Browser::start().await;
    let tab = browser.open(&server.http("/")).await;
    tab.until("the socket opens", READY).await;
    tab.click("build").await;
    tab.until("it is under way", "return document.querySelector('#told').innerText.includes(' of ')").await;
    server.program.signal(channels_tests::Signal::TERM);
    let status = server.program.wait().await;
    assert!(status.success(), "{status}");
    assert!(!server.program.stderr().contains("dropped"), "{}", server.program.stderr());
}
