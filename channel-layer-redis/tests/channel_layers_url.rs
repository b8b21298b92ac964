//! The translation of Django's settings into addresses.

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
fn knows_sentinels_and_pubsub() {
    let host = json!({"sentinels": [["a", 26379], ["b", 26379]], "master_name": "mymaster", "db": 3});
    let layer =
        json!({"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [host]}});
    assert_eq!(only(layer).unwrap(), "redis+sentinel://a:26379,b:26379/mymaster/3?mode=pubsub");
    assert_eq!(core(json!({})).unwrap(), "redis://localhost:6379?mode=core");
}

#[test]
fn unsupported_settings_are_errors() {
    assert!(core(json!({"on_disconnect": "x"})).unwrap_err().contains("`on_disconnect`"));
    assert!(core(json!({"hosts": "redis://h"})).unwrap_err().contains("must be a list"));
    assert!(core(json!({"hosts": [{"host": "h", "ssl": true}]})).unwrap_err().contains("`ssl`"));
    let memory = json!({"BACKEND": "channels.layers.InMemoryChannelLayer"});
    assert!(only(memory).unwrap_err().contains("InMemoryChannelLayer"));
}

/// Entries of `hosts` and the servers that redis-py connects to.
#[test]
fn hosts_equal_redis_py() {
    let cases = [
        (json!(["h", 6380]), "redis://h:6380"),
        (json!(["h", "6380"]), "redis://h:6380"),
        (json!(["::1", 6379]), "redis://[::1]:6379"),
        (json!(["[::1]", "6379"]), "redis://[::1]:6379"),
        (json!({"host": "h", "port": "6380", "db": "3", "password": 12345}), "redis://:12345@h:6380/3"),
        (
            json!({"host": "fe80::1", "username": "u", "password": "p@:/?#"}),
            "redis://u:p%40%3A%2F%3F%23@[fe80::1]:6379/0",
        ),
        (json!({"host": "h", "port": null, "db": null, "password": null}), "redis://h:6379/0"),
        (json!({}), "redis://localhost:6379/0"),
        (json!({"path": "/run/redis.sock", "db": "1"}), "unix:///run/redis.sock?db=1"),
        (json!("unix:///run/redis.sock?db=1"), "unix:///run/redis.sock?db=1"),
        (json!({"address": "unix:///run/redis.sock", "password": 5}), "unix:///run/redis.sock?password=5"),
        (json!("redis://h:6379?db=1"), "redis://h:6379?db=1"),
        (json!("redis://h/0/"), "redis://h/0/"),
        (json!("redis:///2"), "redis://localhost/2"),
        (json!("redis://:secret@:6380"), "redis://:secret@localhost:6380"),
        (json!({"address": "redis://h", "db": 2, "password": "s"}), "redis://h?db=2&password=s"),
        (json!({"address": "redis://:inside@h/1", "db": 2, "password": "beside"}), "redis://:inside@h/1"),
        (json!({"address": "redis://h?db=1", "db": 2}), "redis://h?db=1"),
        (
            json!({"sentinels": [["a", "26379"], ["::1", 26380]], "master_name": "m", "password": 7,
                   "sentinel_kwargs": {"password": 8}, "db": "4"}),
            "redis+sentinel://:7@a:26379,[::1]:26380/m/4?sentinel%5Fpassword=8",
        ),
        (
            json!({"sentinels": [["a", 1]], "master_name": "m", "ssl": true, "sentinel_kwargs": {"ssl": true}}),
            "rediss+sentinel://a:1/m/0",
        ),
    ];
    for (host, expected) in cases {
        let address = core(json!({"hosts": [host]})).unwrap_or_else(|error| panic!("{host}: {error}"));
        let join = if expected.contains('?') { '&' } else { '?' };
        assert_eq!(
            address.replace("sentinel_", "sentinel%5F"),
            format!("{expected}{join}mode=core"),
            "{host}"
        );
    }
    assert_eq!(core(json!({"hosts": []})).unwrap(), "redis://localhost:6379?mode=core");
}

#[test]
fn translates_tls_and_sockets() {
    let of = |host| core(json!({"hosts": [host]})).unwrap();
    let unverified = of(json!({"address": "rediss://h", "ssl_cert_reqs": null}));
    assert_eq!(unverified, "rediss://h?mode=core&ssl_cert_reqs=none");
    assert_eq!(of(json!("rediss://h?ssl_cert_reqs=none")), unverified);
    let waiting = of(
        json!({"address": "redis://h", "socket_timeout": 2.5, "socket_connect_timeout": "3", "socket_keepalive": true}),
    );
    assert_eq!(waiting, "redis://h?mode=core&connect_timeout=3000ms&timeout=2500ms");
    assert_eq!(of(json!({"address": "redis://h", "socket_timeout": null})), "redis://h?mode=core");
    let missing = core(
        json!({"hosts": [{"address": "rediss://h", "ssl_certfile": "/nowhere", "ssl_keyfile": "/nowhere"}]}),
    );
    assert!(missing.unwrap_err().contains("ssl_certfile"));
    let differ =
        json!({"hosts": [{"address": "rediss://a", "ssl_cert_reqs": null}, {"address": "rediss://b"}]});
    assert!(core(differ).unwrap_err().contains("entry 2"));
}

/// Entries of `hosts`, and the name in the error.
fn entries_that_are_not_understood() -> Vec<(serde_json::Value, &'static str)> {
    vec![
        (json!(["h"]), "pair"),
        (json!(["h", 1, 2]), "pair"),
        (json!(["h", "port"]), "port"),
        (json!(["h", 65536]), "port"),
        (json!([6379, "h"]), "host"),
        (json!(5), "entry 2"),
        (json!("h:6379"), "redis://"),
        (json!("/run/redis.sock"), "redis://"),
        (json!("redis://h/x"), "db"),
        (json!("redis://h:port"), "port"),
        (json!("redis://h?colour=red"), "colour"),
        (json!({"host": "h", "port": true}), "port"),
        (json!({"host": "h", "db": "x"}), "db"),
        (json!({"host": "h", "db": -1}), "db"),
        (json!({"host": "h", "password": ["p"]}), "password"),
        (json!({"host": "h", "password": false}), "password"),
        (json!({"address": "redis://h", "password": true}), "password"),
        (json!({"address": "rediss://h", "ssl_cert_reqs": ["required"]}), "ssl_cert_reqs"),
        (
            json!({"sentinels": [["a", 1]], "master_name": "m", "sentinel_kwargs": {"password": true}}),
            "password",
        ),
        (
            json!({"sentinels": [["a", 1]], "master_name": "m", "ssl": 1, "sentinel_kwargs": {"ssl": 1}}),
            "ssl",
        ),
        (
            json!({"sentinels": [["a", 1]], "master_name": "m", "ssl": "true", "sentinel_kwargs": {"ssl": "true"}}),
            "ssl",
        ),
        (json!({"sentinels": [["a", 1]], "service_name": "m"}), "master_name"),
        (json!({"sentinels": [["a", 1]], "master_name": "m", "service_name": "m"}), "service_name"),
        (json!({"host": "h", "username": "u"}), "password"),
        (json!({"host": "h", "ssl": true}), "ssl"),
        (json!({"host": "h", "colour": 1}), "colour"),
        (json!({"address": 5}), "address"),
        (json!({"address": "redis://h", "host": "g"}), "host"),
        (json!({"sentinels": [["a", 1]]}), "master_name"),
        (json!({"master_name": "m"}), "sentinels"),
        (json!({"sentinels": ["a:1"], "master_name": "m"}), "sentinels"),
        (json!({"sentinels": [["a", 1]], "master_name": "m", "ssl": true}), "ssl"),
        (json!({"sentinels": [["a", 1]], "master_name": "m", "sentinel_kwargs": {"db": 1}}), "db"),
        (json!({"address": "rediss://h", "ssl_cert_reqs": "maybe"}), "ssl_cert_reqs"),
        (json!({"address": "rediss://h", "ssl_check_hostname": false}), "ssl_check_hostname"),
        (json!({"address": "redis://h", "ssl_cert_reqs": null}), "ssl_cert_reqs"),
        (json!({"address": "redis://h", "socket_timeout": "soon"}), "socket_timeout"),
    ]
}

#[test]
fn unknown_entries_are_named() {
    for (host, named) in entries_that_are_not_understood() {
        let shared = matches!(&host, serde_json::Value::Object(host) if host.keys().any(|name| name.starts_with("ss")));
        let hosts = if shared { json!([host]) } else { json!([["first", 1], host]) };
        let error = core(json!({"hosts": hosts})).expect_err(&hosts.to_string());
        assert!(error.contains(named), "{hosts}: {error}");
        assert!(!error.contains("canary"));
    }
}

#[test]
fn unknown_settings_are_named() {
    for (config, named) in [
        (json!([]), "CONFIG"),
        (json!({"capacity": "many"}), "capacity"),
        (json!({"expiry": 0.5}), "expiry"),
        (json!({"symmetric_encryption_keys": "canary"}), "symmetric_encryption_keys"),
        (json!({"symmetric_encryption_keys": [5]}), "symmetric_encryption_keys"),
        (json!({"channel_capacity": {"a": "x"}}), "channel_capacity"),
        (json!({"serializer_format": "pickle"}), "serializer_format"),
        (json!({"colour": "canary"}), "colour"),
    ] {
        let error = core(config.clone()).expect_err(&config.to_string());
        assert!(error.contains(named) && !error.contains("canary"), "{config}: {error}");
    }
    assert!(core(json!({"capacity": "1500", "expiry": 30.0})).unwrap().ends_with("&capacity=1500&expiry=30"));
}
