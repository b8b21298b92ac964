//! Failovers by sentinels. The suite behind them is in `conformance` and `conformance_long`.

mod support;

use std::{net::TcpListener, sync::Arc, time::Duration};

use channel_layer::{ChannelLayer, ChannelLayerExt, ChannelName, Error};
use channel_layer_redis::RedisLayer;
#[cfg(feature = "sessions")]
use support::sessions::{HOUR, check_session, record, store};
use support::{
    PATIENCE, layer, number, numbered,
    oracle::observe,
    sentinel::{SERVICE, Sentinel, Sentinels},
    server::Server,
    until,
};
use tokio::{
    task::block_in_place,
    time::{Instant, timeout},
};
#[cfg(feature = "sessions")]
use tower_sessions_core::SessionStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_failover_is_followed() {
    support::log();
    let sentinels = block_in_place(Sentinels::start);
    let one = Arc::new(layer(&sentinels.address()).await);
    let two = Arc::new(layer(&sentinels.address()).await);
    let report = observe(&one, &two, async || {
        block_in_place(|| {
            sentinels.fail_over();
            sentinels.wait_for_master(1);
        });
        Instant::now()
    })
    .await;
    report.check().check_gap();
    assert_eq!(
        sentinels.servers[0].cli(&["pubsub", "channels", "asgi:*"]),
        "",
        "nobody stays on the old master"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced() {
    support::log();
    let mut sentinels = block_in_place(Sentinels::start);
    let one = Arc::new(layer(&sentinels.address()).await);
    let two = Arc::new(layer(&sentinels.address()).await);
    let report = observe(&one, &two, async || {
        block_in_place(|| {
            sentinels.servers[0].kill();
            sentinels.wait_for_master(1);
        });
        Instant::now()
    })
    .await;
    report.check().check_gap();
    assert_eq!(sentinels.master(), sentinels.servers[1].port);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demoted_master_is_abandoned() {
    let sentinels = block_in_place(Sentinels::start);
    // One fixed address, as with a DNS name for the master: only the role shows the demotion.
    let one = layer(&sentinels.servers[0].address()).await;
    let mut events = channel_layer::ChannelLayer::events(&one);
    block_in_place(|| {
        sentinels.fail_over();
        sentinels.wait_for_master(1);
    });
    let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await.expect("noticed");
    assert_eq!(event, Some(channel_layer::LayerEvent::Disconnected));
    support::until("it is not used as a replica", || async { !one.is_connected() }).await;
}

#[tokio::test]
async fn sentinel_errors_are_distinct() {
    let sentinels = Sentinels::start();
    let unknown = sentinels.address().replace("mymaster", "other");
    for address in [unknown.as_str(), "redis+sentinel://127.0.0.1:1/mymaster"] {
        let error = RedisLayer::connect(address).await.unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(matches!(error, Error::Unavailable(_)) && cause.contains("sentinel"), "{cause}");
    }
}

#[tokio::test]
async fn silent_sentinel_is_outvoted() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap(); // never accepts
    let server = Server::start();
    let others = [(); 2].map(|()| Sentinel::watching(&[(SERVICE, server.port)], 1, ""));
    let [two, three] = others.each_ref().map(|sentinel| sentinel.port);
    let one = silent.local_addr().unwrap().port();
    let hosts = format!("127.0.0.1:{one},127.0.0.1:{two},127.0.0.1:{three}");
    let config = format!("redis+sentinel://{hosts}/{SERVICE}?connect_timeout=1h").parse().unwrap();
    let layer = timeout(PATIENCE, RedisLayer::open(config)).await.expect("in time").unwrap();
    assert!(layer.is_connected());
}

#[tokio::test]
async fn sentinels_have_their_passwords() {
    let server = Server::start_with(&["--requirepass", "canary1"]);
    let settings = format!("sentinel auth-pass {SERVICE} canary1\nrequirepass canary2\n");
    let sentinel = Sentinel::watching(&[(SERVICE, server.port)], 1, &settings);
    let address = sentinel.address(SERVICE);
    let with = |server: &str, sentinel: &str| {
        let address = address.replace("://", &format!("://:{server}@"));
        let address = format!("{address}?sentinel_password={sentinel}");
        async move { RedisLayer::connect(&address).await }
    };
    assert!(with("canary1", "canary2").await.unwrap().is_connected());
    for (server, sentinel) in [("canary2", "canary2"), ("canary1", "canary1")] {
        let error = with(server, sentinel).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn several_masters_share_names() {
    let servers = [Server::start(), Server::start()];
    let masters = [("one", servers[0].port), ("two", servers[1].port)];
    let sentinel = Sentinel::watching(&masters, 1, "");
    let layer = layer(&sentinel.address("one,two")).await;
    let mailbox = layer.new_channel().await.unwrap();
    for n in 0..20 {
        layer.join(format!("g{n}"), mailbox.channel()).await.unwrap();
        let report = layer.group_send_message(format!("g{n}"), numbered(n)).await.unwrap();
        assert_eq!(report.local.delivered, 1);
    }
    let groups =
        servers.each_ref().map(|server| server.cli(&["pubsub", "channels", "asgi:g:*"]).lines().count());
    assert!(groups.iter().all(|groups| *groups > 0) && groups.iter().sum::<usize>() == 20, "{groups:?}");
}

/// A change without closed connections and announcements: only the reply to the next query shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_follow_the_master() {
    for mode in ["native", "core"] {
        let servers = [Server::start(), Server::start()];
        let sentinel = Sentinel::watching(&[(SERVICE, servers[0].port)], 1, "");
        let address = format!("{}?mode={mode}", sentinel.address(SERVICE));
        let (one, two) = (layer(&address).await, Arc::new(layer(&address).await));
        let jobs: ChannelName = "jobs".parse().unwrap();
        one.send(&jobs, numbered(1)).await.unwrap();
        assert_eq!(number(&two.receive(&jobs).await.unwrap()), 1);
        let waiting = tokio::spawn({
            let (two, jobs) = (two.clone(), jobs.clone());
            async move { two.receive(&jobs).await }
        });
        sentinel.name_another(servers[1].port);
        let channels = || servers[1].cli(&["pubsub", "channels", "asgi:*"]);
        until("both have moved", || async { channels().lines().count() >= 2 }).await;
        until("both are connected", || async { one.is_connected() && two.is_connected() }).await;
        one.send(&jobs, numbered(2)).await.unwrap();
        let received = timeout(PATIENCE, waiting).await.expect("it has moved too").unwrap().unwrap();
        assert_eq!(number(&received), 2, "{mode}");
    }
}

#[tokio::test]
async fn follows_sentinel_announcements() {
    let server = Server::start();
    let sentinel = Sentinel::watching(&[(SERVICE, server.port)], 1, "");
    let _layer = layer(&sentinel.address(SERVICE)).await;
    until("subscribed", || async {
        support::server::cli(sentinel.port, &["client", "list"]).contains(" sub=1 ")
    })
    .await;
}

/// The sentinel names the replica, then the old master ends: the store finds the new one by the sentinel.
#[cfg(feature = "sessions")]
#[tokio::test]
async fn sessions_survive_a_failover() {
    let mut master = Server::start_with(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinel = Sentinel::watching(&[(SERVICE, master.port)], 1, "");
    let store = store(&sentinel.address(SERVICE)).await;
    check_session(&store).await;
    let mut session = record(HOUR);
    store.create(&mut session).await.unwrap();
    let key = format!("session:asgi:{}", session.id);
    until("replicated", || async { replica.cli(&["exists", &key]) == "1" }).await;
    assert_eq!(replica.cli(&["replicaof", "no", "one"]), "OK");
    sentinel.name_another(replica.port);
    master.kill();
    until("the session is found", || async { store.load(&session.id).await.is_ok() }).await;
    assert_eq!(store.load(&session.id).await.unwrap().as_ref(), Some(&session));
    store.delete(&session.id).await.unwrap();
    assert_eq!(replica.cli(&["dbsize"]), "0", "on the new master");
    check_session(&store).await;
}
