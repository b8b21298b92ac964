//! Reads Django's `CHANNEL_LAYERS` as JSON and prints the address that gives the same layer here, one per alias:
//!
//! ```text
//! python manage.py shell -c "import json; from django.conf import settings; print(json.dumps(settings.CHANNEL_LAYERS))" \
//!   | cargo run -p channel-layer-redis --example channel_layers_url
//! ```
//!
//! What has no counterpart is an error: settings that differ on the two sides are messages that do not arrive.

use std::{io::Read, process::ExitCode};

use channel_layer_redis::RedisConfig;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value as Json};

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
    let mode = match layer["BACKEND"].as_str().ok_or("there is no BACKEND")? {
        "channels_redis.core.RedisChannelLayer" => "core",
        "channels_redis.pubsub.RedisPubSubChannelLayer" => "pubsub",
        other => return Err(format!("`{other}` is no backend of channels_redis")),
    };
    let none = Map::new();
    let config = layer.get("CONFIG").and_then(Json::as_object).unwrap_or(&none);
    let hosts = hosts(config.get("hosts"))?;
    let mut address = hosts[0].clone();
    push(&mut address, "mode", mode);
    hosts[1..].iter().for_each(|host| push(&mut address, "host", host));
    for (name, value) in config {
        setting(&mut address, name, value)?;
    }
    address.parse::<RedisConfig>().map_err(|error| error.to_string())?;
    Ok(address)
}

fn setting(address: &mut String, name: &str, value: &Json) -> Result<(), String> {
    let wrong = || format!("`{name}`: cannot read {value}");
    match name {
        "hosts" => {}
        _ if value.is_null() => {}
        "prefix" | "serializer_format" => push(address, name, value.as_str().ok_or_else(wrong)?),
        "capacity" | "expiry" | "group_expiry" | "random_prefix_length" => {
            push(address, name, &value.as_i64().ok_or_else(wrong)?.to_string());
        }
        "channel_capacity" => {
            for (pattern, capacity) in value.as_object().ok_or_else(wrong)? {
                let capacity = capacity.as_u64().ok_or_else(wrong)?;
                push(address, name, &format!("{pattern}:{capacity}"));
            }
        }
        "symmetric_encryption_keys" => {
            for key in value.as_array().ok_or_else(wrong)? {
                push(address, name, key.as_str().ok_or_else(wrong)?);
            }
        }
        _ => return Err(format!("`{name}` has no counterpart here")),
    }
    Ok(())
}

/// The addresses of `hosts`, in their order.
fn hosts(hosts: Option<&Json>) -> Result<Vec<String>, String> {
    match hosts {
        None | Some(Json::Null) => Ok(vec!["redis://localhost:6379".to_owned()]),
        Some(Json::Array(hosts)) if !hosts.is_empty() => hosts.iter().map(host).collect(),
        Some(_) => Err("`hosts` must be a list".to_owned()),
    }
}

fn host(host: &Json) -> Result<String, String> {
    match host {
        Json::String(address) => Ok(address.clone()),
        Json::Array(pair) => match &pair[..] {
            [Json::String(host), port] => Ok(format!("redis://{host}:{port}")),
            _ => Err(format!("no host and port: {host}")),
        },
        Json::Object(host) if host.contains_key("sentinels") => sentinel(host),
        Json::Object(host) => match host.get("address").and_then(Json::as_str) {
            Some(address) => known(host, &["address"]).map(|()| address.to_owned()),
            None => {
                known(host, &["host", "port", "db", "username", "password"])?;
                let name = host.get("host").and_then(Json::as_str).unwrap_or("localhost");
                let port = host.get("port").and_then(Json::as_u64).unwrap_or(6379);
                Ok(format!("redis://{}{name}:{port}/{}", login(host), database(host)))
            }
        },
        _ => Err(format!("no host: {host}")),
    }
}

fn sentinel(host: &Map<String, Json>) -> Result<String, String> {
    known(host, &["sentinels", "master_name", "sentinel_kwargs", "db", "username", "password"])?;
    let pairs = host["sentinels"].as_array().ok_or("`sentinels` must be a list")?;
    let name = |pair: &Json| Some(format!("{}:{}", pair.get(0)?.as_str()?, pair.get(1)?));
    let sentinels: Option<Vec<_>> = pairs.iter().map(name).collect();
    let sentinels = sentinels.ok_or("`sentinels` must hold pairs of host and port")?.join(",");
    let master = host.get("master_name").and_then(Json::as_str).ok_or("there is no `master_name`")?;
    let mut address =
        format!("redis+sentinel://{}{sentinels}/{}/{}", login(host), encode(master), database(host));
    if let Some(Json::Object(own)) = host.get("sentinel_kwargs") {
        known(own, &["username", "password"])?;
        for (name, value) in own {
            push(&mut address, &format!("sentinel_{name}"), value.as_str().ok_or("a login must be text")?);
        }
    }
    Ok(address)
}

fn known(host: &Map<String, Json>, names: &[&str]) -> Result<(), String> {
    match host.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("`{name}` of a host has no counterpart here")),
        None => Ok(()),
    }
}

fn login(host: &Map<String, Json>) -> String {
    let text = |name| host.get(name).and_then(Json::as_str).map(encode).unwrap_or_default();
    match (text("username"), text("password")) {
        (username, password) if username.is_empty() && password.is_empty() => String::new(),
        (username, password) => format!("{username}:{password}@"),
    }
}

fn database(host: &Map<String, Json>) -> u64 {
    host.get("db").and_then(Json::as_u64).unwrap_or(0)
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
