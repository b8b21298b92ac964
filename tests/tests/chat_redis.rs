//! The chat in two processes over Redis, without faults and when Redis dies.

use std::time::Duration;

use channels_tests::{Lane, Member, Redis, Server, within};
use serde_json::Value;
use tokio::time::sleep;

const MEMBERS: usize = 20;
const MESSAGES: usize = 50;

/// Members of one room, alternately in either process.
async fn room(servers: &[Server; 2]) -> Vec<Member> {
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        members.push(Member::join(&servers[n % 2], "lobby").await);
    }
    members
}

async fn start(redis: &Redis, lane: Lane) -> [Server; 2] {
    [Server::chat_with_layer(&redis.url(), lane).await, Server::chat_with_layer(&redis.url(), lane).await]
}

#[tokio::test]
async fn two_processes_keep_order() {
    let redis = Redis::start().await;
    for lane in [Lane::Handler, Lane::Frame] {
        let servers = start(&redis, lane).await;
        let mut members = room(&servers).await;
        for n in 0..MESSAGES {
            members[0].say(&format!("a {n}")).await;
            members[1].say(&format!("b {n}")).await;
        }
        for member in &mut members {
            let mut heard = Vec::new();
            for _ in 0..2 * MESSAGES {
                heard.push(member.hear().await);
            }
            for sender in ["a", "b"] {
                let of_sender: Vec<_> =
                    heard.iter().filter(|text| text.starts_with(sender)).cloned().collect();
                let sent: Vec<_> = (0..MESSAGES).map(|n| format!("{sender} {n}")).collect();
                assert_eq!(of_sender, sent);
            }
        }
    }
}

#[tokio::test]
async fn members_learn_of_a_redis_gap() {
    let mut redis = Redis::start().await;
    let servers = start(&redis, Lane::Handler).await;
    let mut members = room(&servers).await;
    redis.kill().await;
    sleep(Duration::from_millis(1500)).await;
    redis.start_again().await;
    for member in &mut members {
        assert!(notice(member).await.contains("may have been missed"));
    }
    members[0].say("back again").await;
    for member in &mut members {
        assert_eq!(member.hear().await, "back again");
    }
}

#[tokio::test]
async fn members_outlive_redis_cuts() {
    let redis = Redis::start().await;
    let servers = start(&redis, Lane::Handler).await;
    let mut members = room(&servers).await;
    for fault in ["pubsub", "normal", "freeze"] {
        if fault == "freeze" {
            redis.freeze();
            sleep(Duration::from_secs(3)).await;
            redis.thaw();
        } else {
            redis.cut(fault).await;
        }
        for member in &mut members {
            assert!(notice(member).await.contains("may have been missed"), "{fault}");
        }
        members[1].say(fault).await;
        for member in &mut members {
            assert_eq!(member.hear().await, fault);
        }
    }
}

async fn notice(member: &mut Member) -> String {
    let told = within("a notice", member.receive()).await;
    let value: Value = serde_json::from_str(told.to_text().expect("text")).expect("JSON");
    value["notice"].as_str().unwrap_or_else(|| panic!("expected a notice, got {value}")).to_owned()
}
