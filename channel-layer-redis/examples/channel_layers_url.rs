//! Reads Django's `CHANNEL_LAYERS` as JSON and prints the address of the same layer for each alias:
//!
//! ```text
//! python manage.py shell -c "import json; from django.conf import settings; print(json.dumps(settings.CHANNEL_LAYERS))" \
//!   | cargo run -p channel-layer-redis --example channel_layers_url
//! ```
//!
//! Settings without a counterpart are errors: with different settings on the two sides, messages would not arrive.

use std::{collections::BTreeMap, io::Read, process::ExitCode};

use channel_layer_redis::RedisConfig;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value as Json};

/// The bytes to encode in a host: hyphens, dots and underscores remain readable.
const HOST: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

fn main() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = std::io::stdin().read_to_string(&mut text) {
        eprintln!("cannot read: {error}");
        return ExitCode::FAILURE;
    }
    match addresses(&text) {
        Ok(addresses) => {
            addresses.iter().for_each(|(alias, address)| println!("{alias}: {address}"));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// The address of each alias.
pub(crate) fn addresses(text: &str) -> Result<Vec<(String, String)>, String> {
    let settings: Map<String, Json> =
        serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))?;
    settings
        .iter()
        .map(|(alias, layer)| {
            let address = address(layer).map_err(|reason| format!("{alias}: {reason}"))?;
            Ok((alias.clone(), address))
        })
        .collect()
}

fn address(layer: &Json) -> Result<String, String> {
    let layer = layer.as_object().ok_or("it must be an object")?;
    known(layer, &["BACKEND", "CONFIG", "TEST_CONFIG"])
        .map_err(|name| format!("`{name}` has no counterpart here"))?;
    let mode = match layer.get("BACKEND").and_then(Json::as_str).ok_or("there is no BACKEND")? {
        "channels_redis.core.RedisChannelLayer" => "core",
        "channels_redis.pubsub.RedisPubSubChannelLayer" => "pubsub",
        other => return Err(format!("`{other}` is no backend of channels_redis")),
    };
    let none = Map::new();
    let config = match layer.get("CONFIG") {
        None | Some(Json::Null) => &none,
        Some(config) => config.as_object().ok_or("`CONFIG` must be an object")?,
    };
    let hosts = hosts(config.get("hosts"))?;
    // Settings of all connections occur once in an address, so they must be equal for all hosts.
    if let Some(other) = hosts.iter().position(|host| host.shared != hosts[0].shared) {
        return Err(format!(
            "`hosts`, entry {}: the `ssl_...` and `socket_...` settings of all hosts must be the same",
            other + 1
        ));
    }
    for (at, host) in hosts.iter().enumerate() {
        let parsed = host.address().parse::<RedisConfig>();
        parsed.map_err(|error| format!("`hosts`, entry {}: {error}", at + 1))?;
    }
    let mut address = hosts[0].address();
    push(&mut address, "mode", mode);
    hosts[1..].iter().for_each(|host| push(&mut address, "host", &host.address()));
    hosts[0].shared.iter().for_each(|(name, value)| push(&mut address, name, value));
    for (name, value) in config {
        setting(&mut address, name, value)?;
    }
    address.parse::<RedisConfig>().map_err(|error| error.to_string())?;
    Ok(address)
}

fn setting(address: &mut String, name: &str, value: &Json) -> Result<(), String> {
    // Without the value, which may be a key.
    let wrong = |expected: &str| format!("`{name}` must be {expected}");
    match name {
        "hosts" => {}
        _ if value.is_null() => {}
        "prefix" | "serializer_format" => push(address, name, value.as_str().ok_or_else(|| wrong("text"))?),
        "capacity" | "expiry" | "group_expiry" | "random_prefix_length" => {
            push(address, name, &whole(value).ok_or_else(|| wrong("a whole number"))?.to_string());
        }
        "channel_capacity" => {
            for (pattern, capacity) in value.as_object().ok_or_else(|| wrong("an object"))? {
                let capacity = whole(capacity).ok_or_else(|| wrong("of patterns with whole numbers"))?;
                push(address, name, &format!("{pattern}:{capacity}"));
            }
        }
        "symmetric_encryption_keys" => {
            for key in value.as_array().ok_or_else(|| wrong("a list of keys"))? {
                push(address, name, key.as_str().ok_or_else(|| wrong("a list of texts"))?);
            }
        }
        _ => return Err(format!("`{name}` has no counterpart here")),
    }
    Ok(())
}

/// An entry of `hosts`.
struct Host {
    /// The address with login, database and its options.
    base: String,
    own: Vec<(String, String)>,
    /// Options for the whole layer.
    shared: BTreeMap<String, String>,
}

impl Host {
    fn new(base: String) -> Self {
        Self { base, own: Vec::new(), shared: BTreeMap::new() }
    }

    fn address(&self) -> String {
        let mut address = self.base.clone();
        self.own.iter().for_each(|(name, value)| push(&mut address, name, value));
        address
    }

    /// Applies a setting of redis-py's connections.
    fn set(&mut self, name: &str, value: &Json) -> Result<(), String> {
        let text = || scalar(value).ok_or_else(|| format!("`{name}` must be text or a number"));
        match name {
            "ssl_cert_reqs" => {
                let required = if value.is_null() { "none".to_owned() } else { text()? };
                self.shared.insert(name.to_owned(), required);
            }
            // Ignored.
            _ if value.is_null() => {}
            "username" | "password" if value.is_boolean() => {
                return Err(format!("`{name}` must be text or a number"));
            }
            "db" | "username" | "password" => self.own.push((name.to_owned(), text()?)),
            "ssl_check_hostname" | "ssl_ca_certs" | "ssl_certfile" | "ssl_keyfile" => {
                self.shared.insert(name.to_owned(), text()?);
            }
            "socket_timeout" | "socket_connect_timeout" => {
                let seconds: f64 =
                    text()?.parse().map_err(|_| format!("`{name}` must be a number of seconds"))?;
                let name = if name == "socket_timeout" { "timeout" } else { "connect_timeout" };
                self.shared.insert(name.to_owned(), format!("{:.0}ms", seconds * 1000.0));
            }
            "socket_keepalive" if matches!(text()?.to_ascii_lowercase().as_str(), "true" | "1" | "yes") => {}
            "health_check_interval"
            | "max_connections"
            | "retry_on_timeout"
            | "retry_on_error"
            | "client_name" => {
                eprintln!("`{name}` is about redis-py's connections alone: it is left out");
            }
            _ => return Err(format!("`{name}` of a host has no counterpart here")),
        }
        Ok(())
    }
}

/// The entries of `hosts`, in their order. As in Python, an empty list is one local server.
fn hosts(hosts: Option<&Json>) -> Result<Vec<Host>, String> {
    match hosts {
        None | Some(Json::Null) => Ok(vec![Host::new("redis://localhost:6379".to_owned())]),
        Some(Json::Array(hosts)) if hosts.is_empty() => {
            Ok(vec![Host::new("redis://localhost:6379".to_owned())])
        }
        Some(Json::Array(hosts)) => {
            let host =
                |(at, entry)| host(entry).map_err(|reason| format!("`hosts`, entry {}: {reason}", at + 1));
            hosts.iter().enumerate().map(host).collect()
        }
        Some(_) => Err("`hosts` must be a list".to_owned()),
    }
}

fn host(host: &Json) -> Result<Host, String> {
    match host {
        Json::String(address) => by_address(address, &Map::new()),
        Json::Array(pair) => Ok(Host::new(format!("redis://{}", endpoint(pair)?))),
        Json::Object(host) if host.contains_key("sentinels") || host.contains_key("master_name") => {
            sentinel(host)
        }
        Json::Object(host) => match host.get("address") {
            Some(address) => by_address(address.as_str().ok_or("`address` must be text")?, host),
            None => by_parts(host),
        },
        _ => Err("it must be text, a pair or an object".to_owned()),
    }
}

/// An address, with settings that apply where the address has none.
fn by_address(address: &str, beside: &Map<String, Json>) -> Result<Host, String> {
    let (base, query) = address.split_once('?').unwrap_or((address, ""));
    let (scheme, rest) =
        base.split_once("://").ok_or("an address begins with `redis://`, `rediss://` or `unix://`")?;
    let scheme = scheme.to_ascii_lowercase();
    if !["redis", "rediss", "unix"].contains(&scheme.as_str()) {
        return Err("an address begins with `redis://`, `rediss://` or `unix://`".to_owned());
    }
    let at = if scheme == "unix" { None } else { rest.rfind('@') };
    let (login, place) = rest.split_at(at.map_or(0, |at| at + 1));
    // The default of redis-py for an address without a host.
    let local = if scheme != "unix" && (place.is_empty() || place.starts_with([':', '/'])) {
        "localhost"
    } else {
        ""
    };
    let mut host = Host::new(format!("{scheme}://{login}{local}{place}"));
    let mut inside = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = percent_decode_str(value).decode_utf8().map_err(|_| format!("`{name}` must be UTF-8"))?;
        host.set(name, &Json::String(value.replace('+', " ")))?;
        inside.push(name);
    }
    let path = place.split_once('/').map_or("", |(_, path)| path.trim_matches('/'));
    for (name, value) in beside {
        let is_said = match name.as_str() {
            "address" => true,
            "db" => !path.is_empty() && scheme != "unix",
            "username" => !login.trim_end_matches('@').split(':').next().unwrap_or_default().is_empty(),
            "password" => login.split_once(':').is_some_and(|(_, password)| password != "@"),
            _ => false,
        };
        if !is_said && !inside.contains(&name.as_str()) {
            host.set(name, value)?;
        }
    }
    Ok(host)
}

fn by_parts(parts: &Map<String, Json>) -> Result<Host, String> {
    let (base, read): (String, &[&str]) = match parts.get("path") {
        Some(path) => (format!("unix://{}", path.as_str().ok_or("`path` must be text")?), &["path"]),
        None => {
            let or = |name, default| {
                parts.get(name).filter(|given| !given.is_null()).cloned().unwrap_or(Json::from(default))
            };
            let place = endpoint(&[or("host", "localhost"), or("port", "6379")])?;
            let base = format!("redis://{}{place}/{}", login(parts)?, database(parts)?);
            (base, &["host", "port", "username", "password", "db"])
        }
    };
    let mut host = Host::new(base);
    for (name, value) in parts.iter().filter(|(name, _)| !read.contains(&name.as_str())) {
        host.set(name, value)?;
    }
    Ok(host)
}

fn login(host: &Map<String, Json>) -> Result<String, String> {
    let text = |name| match host.get(name) {
        None | Some(Json::Null) => Ok(String::new()),
        Some(value) => {
            let text = scalar(value).filter(|_| !value.is_boolean());
            text.map(|text| encode(&text)).ok_or(format!("`{name}` must be text or a number"))
        }
    };
    let (username, password) = (text("username")?, text("password")?);
    let is_none = username.is_empty() && password.is_empty();
    Ok(if is_none { String::new() } else { format!("{username}:{password}@") })
}

fn database(host: &Map<String, Json>) -> Result<u32, String> {
    match host.get("db") {
        None | Some(Json::Null) => Ok(0),
        Some(db) => whole(db).and_then(|db| u32::try_from(db).ok()).ok_or("`db` must be a number".to_owned()),
    }
}

/// Refuses other schemes: they might leave passwords unencrypted.
fn is_tls(settings: &Map<String, Json>) -> Result<bool, String> {
    match settings.get("ssl") {
        None | Some(Json::Null) => Ok(false),
        Some(Json::Bool(is_tls)) => Ok(*is_tls),
        Some(_) => Err("`ssl` must be true or false".to_owned()),
    }
}

fn sentinel(host: &Map<String, Json>) -> Result<Host, String> {
    const READ: [&str; 7] =
        ["sentinels", "master_name", "sentinel_kwargs", "ssl", "username", "password", "db"];
    let pairs = host.get("sentinels").and_then(Json::as_array).ok_or("`sentinels` must be a list")?;
    let pair = |pair: &Json| endpoint(pair.as_array().ok_or("`sentinels` must hold pairs of host and port")?);
    let sentinels = pairs.iter().map(pair).collect::<Result<Vec<_>, _>>()?.join(",");
    let master = host.get("master_name").and_then(Json::as_str).ok_or("there is no `master_name`")?;
    let none = Map::new();
    let of_sentinels = match host.get("sentinel_kwargs") {
        None | Some(Json::Null) => &none,
        Some(own) => own.as_object().ok_or("`sentinel_kwargs` must be an object")?,
    };
    let is_tls = is_tls(host)?;
    if is_tls != self::is_tls(of_sentinels)? {
        return Err("`ssl` must be the same for the sentinels (`sentinel_kwargs`) and the master".to_owned());
    }
    let scheme = if is_tls { "rediss" } else { "redis" };
    let mut made = Host::new(format!(
        "{scheme}+sentinel://{}{sentinels}/{}/{}",
        login(host)?,
        encode(master),
        database(host)?
    ));
    for (name, value) in of_sentinels {
        match (name.as_str(), scalar(value)) {
            ("ssl", _) => {}
            _ if value.is_null() => {}
            ("username" | "password", Some(text)) if !value.is_boolean() => {
                made.own.push((format!("sentinel_{name}"), text))
            }
            _ => return Err(format!("`{name}` in `sentinel_kwargs` has no counterpart here")),
        }
    }
    let is_read = |name: &str| READ.contains(&name);
    for (name, value) in host.iter().filter(|(name, _)| !is_read(name)) {
        made.set(name, value)?;
    }
    Ok(made)
}

/// `HOST:PORT`, for a host that may be IPv6 and a port that may be text.
fn endpoint(pair: &[Json]) -> Result<String, String> {
    let [host, port] = pair else { return Err("a pair must be a host and a port".to_owned()) };
    let host = host.as_str().filter(|host| !host.is_empty()).ok_or("the host must be text")?;
    let port = whole(port)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or("the port must be a number up to 65535")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = if bare.contains(':') {
        format!("[{}]", bare.replace('%', "%25"))
    } else {
        utf8_percent_encode(host, HOST).to_string()
    };
    Ok(format!("{host}:{port}"))
}

/// A whole number, as a number or as text.
fn whole(value: &Json) -> Option<i64> {
    match value {
        Json::String(text) => text.trim().parse().ok(),
        Json::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15).map(|n| n as i64)),
        _ => None,
    }
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn known<'a>(settings: &'a Map<String, Json>, names: &[&str]) -> Result<(), &'a str> {
    settings.keys().find(|name| !names.contains(&name.as_str())).map_or(Ok(()), |name| Err(name))
}

fn push(address: &mut String, option: &str, value: &str) {
    address.push(if address.contains('?') { '&' } else { '?' });
    address.push_str(option);
    address.push('=');
    address.push_str(&encode(value));
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
