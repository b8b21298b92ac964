//! The documentation's `BasicHttpConsumer`: a request that is answered after a while.

use std::time::Duration;

use http::StatusCode;
use tokio::time::sleep;
use ws_consumer::{
    Exchange, Result, exchange,
    testing::{TestApp, advance},
};

async fn answer(mut exchange: Exchange) -> Result<()> {
    sleep(Duration::from_secs(10)).await;
    exchange.respond("Your response bytes").await
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_its_time() {
    let mut request = TestApp::new(exchange(answer)).http("GET", "/");
    request.send_request().await;
    request.refute_any_sent().await;
    advance(Duration::from_secs(10)).await;
    let response = request.get_response().await;
    assert_eq!((response.status(), &response.body()[..]), (StatusCode::OK, &b"Your response bytes"[..]));
}
