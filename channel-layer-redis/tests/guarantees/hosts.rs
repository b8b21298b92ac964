//! Several hosts that share the names.

use std::time::Duration;

use channel_layer::{Audience, ChannelLayer, ChannelLayerExt, Error, LayerEvent};
use tokio::time::timeout;

use super::support::{group, is_silent, layer, next, number, numbered, server::Server, until};

fn on_both(one: &Server, two: &Server, mode: &str) -> String {
    format!("redis://127.0.0.1:{},127.0.0.1:{}/0?mode={mode}&prefix={mode}", one.port, two.port)
}

#[tokio::test]
async fn union_over_hosts_arrives_once() {
    const NAMES: usize = 20;
    let hosts = [Server::start(), Server::start()];
    for mode in ["native", "pubsub", "core"] {
        let address = on_both(&hosts[0], &hosts[1], mode);
        let (one, two) = (layer(&address).await, layer(&address).await);
        let (mut near, mut far) = (one.new_channel().await.unwrap(), two.new_channel().await.unwrap());
        let mut left_out = two.new_channel().await.unwrap();
        let names = || (0..NAMES).map(|n| group(&format!("g{n}")));
        for name in names() {
            one.group_add(&name, near.channel()).await.unwrap();
            two.group_add(&name, far.channel()).await.unwrap();
            two.group_add(&name, left_out.channel()).await.unwrap();
        }
        if mode != "core" {
            for host in &hosts {
                let topics = host.cli(&["pubsub", "channels", &format!("{mode}*g*")]);
                let has_group = |n| topics.lines().any(|topic| topic.ends_with(&format!("g{n}")));
                assert!((0..NAMES).any(has_group), "{mode}: both hosts have some of them");
            }
        }
        let all = names().skip(1).fold(Audience::from(group("g0")), Audience::and);
        let all = all.except(left_out.channel());
        for n in 0..20 {
            let _ = one.group_send(&all, numbered(n)).await.unwrap();
        }
        for n in 0..20 {
            assert_eq!((number(&next(&mut near).await), number(&next(&mut far).await)), (n, n), "{mode}");
        }
        assert!(is_silent(&mut near).await && is_silent(&mut far).await, "{mode}: not a second time");
        assert!(is_silent(&mut left_out).await, "{mode}");
    }
}

/// Groups of the other host are not affected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_outage_is_reported() {
    for mode in ["native", "pubsub"] {
        let (well, mut ill) = (Server::start(), Server::start());
        let one = layer(&on_both(&well, &ill, mode)).await;
        let mut mailbox = one.new_channel().await.unwrap();
        let mut groups = [Vec::new(), Vec::new()];
        for n in 0..20 {
            let name = format!("g{n}");
            one.join(&name, mailbox.channel()).await.unwrap();
            let topics = ill.cli(&["pubsub", "channels", "*"]);
            let is_ill = topics.lines().any(|topic| topic.ends_with(&name));
            groups[usize::from(is_ill)].push(name);
        }
        let [on_well, on_ill] = groups;
        let mut events = one.events();
        let state = events.state();
        ill.kill();
        assert_eq!(timeout(Duration::from_secs(10), events.next()).await, Ok(Some(LayerEvent::Disconnected)));
        assert!(!one.is_connected() && state.is_away(), "{mode}");
        for (n, name) in (0..).zip(&on_well) {
            assert_eq!(one.group_send_message(name, numbered(n)).await.unwrap().local.delivered, 1, "{mode}");
            assert_eq!(number(&next(&mut mailbox).await), n, "{mode}");
        }
        for name in &on_ill {
            let refused = one.group_send_message(name, numbered(-1)).await;
            assert!(matches!(refused, Err(Error::Unavailable(_))), "{mode}: {refused:?}");
        }
        tokio::task::block_in_place(|| ill.restart());
        let back = timeout(Duration::from_secs(10), events.next()).await.unwrap();
        assert!(matches!(back, Some(LayerEvent::Reconnected { .. })), "{mode}: {back:?}");
        for (n, name) in (0..).zip(on_ill.iter().chain(&on_well)) {
            assert_eq!(one.group_send_message(name, numbered(n)).await.unwrap().local.delivered, 1, "{mode}");
            assert_eq!(number(&next(&mut mailbox).await), n, "{mode}");
        }
        assert!(!state.is_away(), "{mode}");
        let more = timeout(Duration::from_millis(200), events.next()).await;
        assert!(more.is_err(), "{mode}: {more:?}");
        assert_eq!((one.stats().disconnects, one.stats().reconnects), (1, 1), "{mode}");
    }
}

#[tokio::test]
async fn join_during_outage_takes_effect() {
    for mode in ["native", "pubsub", "core"] {
        let (well, mut ill) = (Server::start(), Server::start());
        let one = layer(&on_both(&well, &ill, mode)).await;
        // In mode core, messages arrive by the host of the mailbox.
        let mut mailboxes = Vec::new();
        for _ in 0..20 {
            mailboxes.push(one.new_channel().await.unwrap());
        }
        ill.kill();
        until("noticed", || async { !one.is_connected() }).await;
        for (n, mailbox) in mailboxes.iter().enumerate() {
            one.join(format!("g{n}"), mailbox.channel()).await.unwrap();
        }
        ill.restart();
        until("it is back", || async { one.is_connected() && one.stats().reconnects == 1 }).await;
        for (n, mailbox) in mailboxes.iter_mut().enumerate() {
            let sent = one.group_send_message(format!("g{n}"), numbered(n as i64)).await.unwrap();
            assert_eq!(sent.local.delivered, 1, "{mode}");
            assert_eq!(number(&next(mailbox).await), n as i64, "{mode}");
        }
    }
}

#[tokio::test]
async fn discard_all_from_any_process() {
    let hosts = [Server::start(), Server::start()];
    for mode in ["native", "core"] {
        let address = on_both(&hosts[0], &hosts[1], mode);
        let (one, two) = (layer(&address).await, layer(&address).await);
        let (mut mailbox, mut other) = (one.new_channel().await.unwrap(), one.new_channel().await.unwrap());
        let jobs = "jobs".parse().unwrap();
        let names: Vec<_> = (0..8).map(|n| group(&format!("g{n}"))).collect();
        for (n, name) in names.iter().enumerate() {
            let adder = if n % 2 == 0 { &one } else { &two };
            for member in [mailbox.channel(), other.channel(), &jobs] {
                adder.group_add(name, member).await.unwrap();
            }
        }
        two.group_discard_all(mailbox.channel()).await.unwrap();
        two.group_discard_all(&jobs).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await; // the end of a named channel is sent without a reply
        for name in &names {
            let _ = two.group_send(&name.clone().into(), numbered(1)).await.unwrap();
            assert_eq!(number(&next(&mut other).await), 1, "{mode}");
        }
        assert!(is_silent(&mut mailbox).await, "{mode}");
        let received = timeout(Duration::from_millis(300), two.receive(&jobs)).await;
        assert!(received.is_err(), "{mode}: {received:?}");
    }
}
