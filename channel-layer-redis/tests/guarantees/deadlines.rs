//! Deadlines of calls, and the detection of lost messages.

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, Deliveries, Error, LayerEvent};
use futures_util::{FutureExt, future::join_all};
use tokio::time::timeout;

use super::support::{
    self, layer, next, number, numbered,
    proxy::{Manners, Proxy},
    server::Server,
    until,
};

/// Options with which only calls detect a failure.
const UNWATCHED: &str = "timeout=300ms&heartbeat=1h&probe=1h";

#[tokio::test]
async fn lost_echo_delivers_to_none() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    for mode in ["native", "pubsub"] {
        let one = layer(&format!("{}?mode={mode}&prefix={mode}&{UNWATCHED}", proxy.address())).await;
        let mut mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        proxy.set(Manners::Mute);
        let sent = timeout(support::PATIENCE, one.group_send_message("g", numbered(1))).await;
        let report = sent.expect("it has a deadline").expect("Redis has taken it");
        assert_eq!(report.local, Deliveries::default(), "{mode}");
        proxy.set(Manners::Pass);
        let report = one.group_send_message("g", numbered(2)).await.unwrap();
        assert_eq!(report.local.delivered, 1, "{mode}");
        assert_eq!(number(&next(&mut mailbox).await), 2, "{mode}");
    }
}

#[tokio::test]
async fn mute_process_meets_a_deadline() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let one = layer(&format!("{}?{UNWATCHED}", server.address())).await;
    let two = layer(&format!("{}?{UNWATCHED}", proxy.address())).await;
    let mailbox = two.new_channel().await.unwrap();
    proxy.set(Manners::Mute);
    let join = timeout(support::PATIENCE, one.join("g", mailbox.channel())).await.expect("it has a deadline");
    assert!(matches!(join, Err(Error::TimedOut(_))), "{join:?}");
    proxy.set(Manners::Pass);
    one.join("g", mailbox.channel()).await.unwrap();
    assert_eq!(two.hub().member_count(&support::group("g")), 1);
}

#[tokio::test]
async fn mute_server_in_every_mode() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    for mode in ["native", "pubsub", "core"] {
        let address = format!("{}?mode={mode}&prefix={mode}&timeout=300ms&probe=200ms", proxy.address());
        let one = layer(&address).await;
        let mut events = one.events();
        proxy.set(Manners::Mute);
        let event = timeout(support::PATIENCE, events.next()).await.expect("noticed");
        assert_eq!(event, Some(LayerEvent::Disconnected), "{mode}");
        proxy.set(Manners::Pass);
        let event = timeout(support::PATIENCE, events.next()).await.expect("cured");
        assert!(matches!(event, Some(LayerEvent::Reconnected { .. })), "{mode}: {event:?}");
        one.health().await.unwrap();
    }
}

/// A server that neither replies nor closes the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_has_a_deadline() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let jobs: ChannelName = "jobs".parse().unwrap();
    for mode in ["native", "pubsub", "core"] {
        let options = format!("mode={mode}&prefix={mode}");
        let one = layer(&format!("{}?{options}&{UNWATCHED}", proxy.address())).await;
        let other = layer(&format!("{}?{options}", server.address())).await;
        let (mut mailbox, far) = (one.new_channel().await.unwrap(), other.new_channel().await.unwrap());
        one.join("g", mailbox.channel()).await.unwrap();
        proxy.set(Manners::Swallow);
        let calls = [
            one.group_send_message("g", numbered(1)).map(|sent| sent.map(drop)).boxed(),
            one.send(far.channel(), numbered(1)).boxed(),
            one.send(&jobs, numbered(1)).boxed(),
            one.health().map(|health| health.map(drop)).boxed(),
        ];
        let (calls, join) = timeout(support::PATIENCE, async {
            tokio::join!(join_all(calls), one.join("h", mailbox.channel()))
        })
        .await
        .expect("each has a deadline");
        for call in calls {
            assert!(call.as_ref().is_err_and(Error::is_outage), "{mode}: {call:?}");
        }
        join.expect("it is wanted from now on");
        let left = timeout(support::PATIENCE, one.leave("g", mailbox.channel())).await;
        left.expect("it has a deadline").expect("a member leaves whatever the server does");
        proxy.set(Manners::Pass);
        until("it is back", || async { one.is_connected() && one.health().await.is_ok() }).await;
        let sent = one.group_send_message("h", numbered(2)).await.unwrap();
        // In mode core, the echo may arrive after the timeout of the report.
        assert!(sent.local.delivered == 1 || mode == "core", "{mode}: {sent:?}");
        let _ = one.group_send_message("g", numbered(3)).await.unwrap();
        let _ = one.group_send_message("h", numbered(4)).await.unwrap();
        assert_eq!((number(&next(&mut mailbox).await), number(&next(&mut mailbox).await)), (2, 4), "{mode}");
    }
}

/// Closing does not wait for a frozen server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_ends_calls_in_a_freeze() {
    for mode in ["native", "pubsub", "core"] {
        let server = Server::start();
        let one = layer(&format!("{}?mode={mode}&{UNWATCHED}", server.address())).await;
        let mailbox = one.new_channel().await.unwrap();
        one.join("g", mailbox.channel()).await.unwrap();
        let jobs: ChannelName = "jobs".parse().unwrap();
        server.freeze();
        let ended = timeout(support::PATIENCE, async {
            tokio::join!(
                one.receive(&jobs),
                one.group_send_message("g", numbered(1)),
                one.join("h", mailbox.channel()),
                one.close()
            )
        })
        .await;
        server.thaw();
        let (received, sent, _, closed) = ended.expect("all of them end");
        assert!(matches!(received, Err(Error::Closed)), "{mode}: {received:?}");
        assert!(sent.is_err(), "{mode}: {sent:?}");
        closed.unwrap();
        assert!(matches!(one.join("h", mailbox.channel()).await, Err(Error::Closed)), "{mode}");
    }
}
