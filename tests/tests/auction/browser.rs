//! The auction's pages in a real browser: light and dark, as wide as a desk and a phone, and live.

use channels_tests::{Auction, Browser, Tab, Viewer};
use serde_json::{Value, json};

use super::LONG;

/// The least contrast of text, by WCAG 2 at level AA.
const CONTRAST: f64 = 4.5;
const OPEN: &str = "return document.querySelector('#lot')?.dataset.state === 'open'";
/// The texts of a page, each with its contrast to what is behind it.
const CONTRASTS: &str = include_str!("contrasts.js");

#[tokio::test]
async fn pages_work_in_light_and_dark() {
    let auction = Auction::open(LONG).await;
    let browser = Browser::start().await;
    let tab = browser.open(&auction.http("/lots/1")).await;
    tab.until("the lot opens for a stranger", OPEN).await;
    check_looks(&tab, "a stranger's lot").await;
    tab.click("login").await;
    submit_login(&tab, "bob-secret").await;
    tab.until("a refusal", "return document.querySelector('.problem').innerText !== ''").await;
    check_looks(&tab, "login").await;
    submit_login(&tab, "ann-secret").await;
    tab.until("all lots", "return document.querySelectorAll('#lots .card').length === 4").await;
    tab.until("the user", "return document.querySelector('#user')?.innerText === 'ann'").await;
    check_looks(&tab, "lots").await;
    let bob = auction.log_in("bob").await;
    let [mut here, mut there] = auction.view(&bob, 1).await;
    tab.click("lot-1").await;
    tab.until("the lot opens", OPEN).await;
    assert_eq!(here.bid(50).await["reply"]["leader"], "bob");
    tab.until("bob's bid", "return document.querySelector('#leader').innerText === 'Highest bid by bob.'")
        .await;
    tab.fill("amount", "55").await;
    tab.click("submit").await;
    tab.until("the bid", "return document.querySelector('#leader').innerText === 'Highest bid by you.'")
        .await;
    assert_eq!(there.bid(59).await["error"], "the next bid is at least 60");
    tab.until("a bid of each", "return document.querySelectorAll('#history li').length === 2").await;
    check_looks(&tab, "lot").await;
}

/// The page's `EventSource` reconnects by itself, and then also shows the bids that it missed.
#[tokio::test]
async fn overview_survives_a_crash() {
    let mut auction = Auction::open(LONG).await;
    let bob = auction.log_in("bob").await;
    let [mut bob, second] = auction.view(&bob, 1).await;
    drop(second);
    let browser = Browser::start().await;
    let tab = browser.open(&auction.http("/")).await;
    shows(&tab, 40).await;
    bid_is_shown(&mut bob, &tab, 50).await;
    // Not behind nginx, which would choose the process.
    tab.goto(&auction.servers[1].http("/")).await;
    shows(&tab, 50).await;
    tab.eval("window.isFirstLoad = true", Vec::new()).await;
    bid_is_shown(&mut bob, &tab, 60).await;
    // A drain would wait 10 s for the stream, which is a pending request.
    auction.servers[1].program.kill().await;
    assert_eq!(bob.bid(70).await["reply"]["price"], 70);
    auction.start_second_again().await;
    shows(&tab, 70).await;
    bid_is_shown(&mut bob, &tab, 80).await;
    assert_eq!(tab.eval("return window.isFirstLoad", Vec::new()).await, json!(true), "not reloaded");
}

async fn bid_is_shown(viewer: &mut Viewer, tab: &Tab<'_>, amount: u64) {
    assert_eq!(viewer.bid(amount).await["reply"]["price"], amount);
    shows(tab, amount).await;
}

/// Waits until the overview shows this price of the first lot.
async fn shows(tab: &Tab<'_>, price: u64) {
    let shown = format!("return document.querySelector('#lot-1 .price')?.innerText.endsWith(' {price}')");
    tab.until(&format!("the price {price}"), &shown).await;
}

async fn submit_login(tab: &Tab<'_>, password: &str) {
    for (id, text) in [("username", "ann"), ("password", password)] {
        tab.fill(id, text).await;
    }
    // Not by its id, which the link of the other pages has too.
    tab.eval("document.forms[0].requestSubmit()", Vec::new()).await;
}

/// Checks that each text is legible, and that nothing is wider than the page.
async fn check_looks(tab: &Tab<'_>, page: &str) {
    for (width, height) in [(1280, 800), (360, 740)] {
        for dark in [false, true] {
            tab.look(width, height, dark).await;
            // Colours change at once, but for what the page animates.
            tab.until("no animation", "return document.getAnimations().length === 0").await;
            let texts = tab.eval(CONTRASTS, Vec::new()).await;
            let texts = texts.as_array().expect("a list");
            assert!(!texts.is_empty(), "{page} has texts");
            let is_weak = |text: &&Value| text["contrast"].as_f64().is_none_or(|ratio| ratio < CONTRAST);
            let weak: Vec<_> = texts.iter().filter(is_weak).collect();
            assert!(weak.is_empty(), "{page}, {width} pixels, dark: {dark}: {weak:#?}");
            let dark_page =
                tab.eval("return matchMedia('(prefers-color-scheme: dark)').matches", Vec::new()).await;
            assert_eq!(dark_page, json!(dark));
            // Not compared with the window, which a phone's browser widens to what does not fit.
            let wide = tab.eval("return document.documentElement.scrollWidth", Vec::new()).await;
            assert_eq!(wide, json!(width), "{page}");
        }
    }
}
