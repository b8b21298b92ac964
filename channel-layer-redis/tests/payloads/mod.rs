//! Values of Python, some of which a message cannot contain.

use channel_layer::{ChannelLayer, ChannelLayerExt, Error, Map, Message, Value};
use channel_layer_redis::{MessageSerializer, RedisConfig, RedisLayer};
use serde_json::{Value as Json, json};

use crate::support::{layer, next, python::Python, server::Server, until};

struct Case {
    /// The value in Python.
    sent: Json,
    /// `None` for a value that a message cannot contain.
    json: Option<Value>,
    msgpack: Option<Value>,
}

fn literal(text: &str) -> Json {
    json!({"$literal": text})
}

fn float(text: &str) -> Json {
    json!({"$float": text})
}

fn both(sent: Json, read: Value) -> Case {
    Case { sent, json: Some(read.clone()), msgpack: Some(read) }
}

fn cases() -> Vec<Case> {
    let neither = |sent| Case { sent, json: None, msgpack: None };
    let only_json = |sent, read| Case { sent, json: Some(read), msgpack: None };
    let keyed = |key: &str| Value::Map(Map::from([(key, "x")]));
    vec![
        both(float("nan"), f64::NAN.into()),
        both(float("inf"), f64::INFINITY.into()),
        both(float("-inf"), f64::NEG_INFINITY.into()),
        both(
            literal("[-9223372036854775808, 18446744073709551615]"),
            Value::List(vec![i64::MIN.into(), u64::MAX.into()]),
        ),
        both(literal("'\\U0001f680 \\x00'"), "🚀 \0".into()),
        both(literal("(1, ('a',))"), Value::List(vec![1.into(), Value::list(["a"])])),
        only_json(literal("'half \\ud83d'"), "half \u{fffd}".into()),
        only_json(literal("{'\\udc00': 'x'}"), keyed("\u{fffd}")),
        only_json(literal("{1: 'x'}"), keyed("1")),
        only_json(literal("{None: 'x'}"), keyed("null")),
        only_json(literal("{1.5: 'x'}"), keyed("1.5")),
        neither(literal("18446744073709551616")),
        neither(literal("-9223372036854775809")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_payloads_are_read() {
    let server = Server::start();
    for mode in ["core", "pubsub"] {
        for serializer in ["json", "msgpack"] {
            let prefix = format!("{mode}-{serializer}");
            let config =
                json!({"hosts": [server.address()], "prefix": prefix, "serializer_format": serializer});
            let mut python = Python::layer(mode, &config).await;
            let options = format!("mode={mode}&prefix={prefix}&serializer_format={serializer}");
            let rust = layer(&format!("{}?{options}", server.address())).await;
            let mut ours = rust.new_channel().await.unwrap();
            let mut unreadable = 0;
            for case in cases() {
                let read = if serializer == "json" { case.json } else { case.msgpack };
                let is_sent = python
                    .try_call("send", json!([ours.channel().as_str(), {"type": "t", "v": case.sent}]))
                    .await;
                match read {
                    Some(read) => {
                        let got = next(&mut ours).await;
                        // As text, since no NaN is equal to itself.
                        assert_eq!(format!("{:?}", got.get("v").unwrap()), format!("{read:?}"), "{prefix}");
                        // A round trip.
                        let again = Message::new("t").with("v", read.clone());
                        layer(&format!("{}?{options}", server.address()))
                            .await
                            .send(ours.channel(), again)
                            .await
                            .unwrap();
                        assert_eq!(
                            format!("{:?}", next(&mut ours).await.get("v").unwrap()),
                            format!("{read:?}")
                        );
                    }
                    // Python may refuse to write it.
                    None => unreadable += u64::from(is_sent),
                }
                until("it is counted", async || rust.stats().unreadable == unreadable).await;
            }
            assert!(unreadable > 0, "{prefix}");
        }
    }
}

/// JSON, reversed: a class of the same format is registered with the Python side.
struct Reversed;

impl MessageSerializer for Reversed {
    fn encode(&self, message: &Map) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(message.to_json()?.bytes().rev().collect())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Map, Box<dyn std::error::Error + Send + Sync>> {
        let bytes: Vec<_> = bytes.iter().rev().copied().collect();
        Ok(Map::from_json(&bytes)?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_serializers_match_pythons() {
    for (mode, keys) in [("core", &[][..]), ("core", &["key"]), ("pubsub", &[]), ("pubsub", &["key"])] {
        let server = Server::start();
        let config: RedisConfig = format!("{}?mode={mode}", server.address()).parse().unwrap();
        let config = config.with_serializer(Reversed).with_symmetric_encryption_keys(keys);
        let rust = RedisLayer::open(config).await.unwrap();
        let mut settings = json!({"hosts": [server.address()], "serializer_format": "reversed"});
        if !keys.is_empty() {
            settings["symmetric_encryption_keys"] = json!(keys);
        }
        let mut python = Python::layer(mode, &settings).await;
        let (theirs, mut ours) = (python.new_channel().await, rust.new_channel().await.unwrap());
        rust.join("room", ours.channel()).await.unwrap();
        python.call("group_add", json!(["room", theirs])).await;
        let message = Message::new("chat.message").with("text", "汉字").with("n", 1);
        rust.send(&theirs.parse().unwrap(), message.clone()).await.unwrap();
        assert_eq!(python.receive(&theirs, 5.0).await.as_ref(), Some(&message), "{mode} {keys:?}");
        python.call("send", json!([ours.channel().as_str(), {"type": "x", "n": 2}])).await;
        assert_eq!(next(&mut ours).await, Message::new("x").with("n", 2), "{mode} {keys:?}");
        python.call("group_send", json!(["room", {"type": "x", "n": 3}])).await;
        assert_eq!(next(&mut ours).await, Message::new("x").with("n", 3), "{mode} {keys:?}");
        assert!(python.receive(&theirs, 5.0).await.is_some());
        let bytes = rust.send(&theirs.parse().unwrap(), Message::new("x").with("b", Value::bytes([1]))).await;
        assert!(matches!(bytes, Err(Error::InvalidMessage(_))), "{mode}: {bytes:?}");
        assert_eq!(rust.stats().unreadable, 0);
    }
}
