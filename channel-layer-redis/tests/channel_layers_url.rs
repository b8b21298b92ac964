//! The checker of Django's settings.

#[path = "../examples/channel_layers_url.rs"]
#[allow(dead_code, reason = "its main is not called")]
mod checker;

use checker::addresses;
use serde_json::json;

fn only(layer: serde_json::Value) -> Result<String, String> {
    let found = addresses(&json!({"default": layer}).to_string())?;
    Ok(found.into_iter().next().expect("one alias").1)
}

fn core(config: serde_json::Value) -> Result<String, String> {
    only(json!({"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}))
}

#[test]
fn every_setting_finds_its_place() {
    let config = json!({
        "hosts": [["10.0.0.5", 6379], {"address": "redis://10.0.0.6:6379/1"}, {"host": "c", "db": 2, "password": "p@ss"}],
        "prefix": "shop",
        "expiry": 30,
        "group_expiry": 3600,
        "capacity": 1500,
        "channel_capacity": {"http.request": 200, "http.response!*": 10},
        "symmetric_encryption_keys": ["a key", "old"],
        "random_prefix_length": 8,
        "serializer_format": "json",
    });
    let address = core(config).unwrap();
    for part in [
        "redis://10.0.0.5:6379?mode=core",
        "&host=redis%3A%2F%2F10%2E0%2E0%2E6%3A6379%2F1",
        "&prefix=shop",
        "&expiry=30",
        "&group_expiry=3600",
        "&capacity=1500",
        "&channel_capacity=http%2Erequest%3A200",
        "&symmetric_encryption_keys=a%20key&symmetric_encryption_keys=old",
        "&random_prefix_length=8",
        "&serializer_format=json",
    ] {
        assert!(address.contains(part), "{part} in {address}");
    }
}

#[test]
fn sentinels_and_the_other_backend_are_known() {
    let host = json!({"sentinels": [["a", 26379], ["b", 26379]], "master_name": "mymaster", "db": 3});
    let layer =
        json!({"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [host]}});
    assert_eq!(only(layer).unwrap(), "redis+sentinel://a:26379,b:26379/mymaster/3?mode=pubsub");
    assert_eq!(core(json!({})).unwrap(), "redis://localhost:6379?mode=core");
}

#[test]
fn what_has_no_counterpart_is_an_error() {
    assert!(core(json!({"on_disconnect": "x"})).unwrap_err().contains("`on_disconnect`"));
    assert!(core(json!({"hosts": "redis://h"})).unwrap_err().contains("must be a list"));
    assert!(core(json!({"hosts": [{"host": "h", "ssl": true}]})).unwrap_err().contains("`ssl`"));
    let memory = json!({"BACKEND": "channels.layers.InMemoryChannelLayer"});
    assert!(only(memory).unwrap_err().contains("InMemoryChannelLayer"));
}
