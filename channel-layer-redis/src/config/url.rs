//! Addresses into configurations.

use std::time::Duration;

use channel_layer::ConfigError;
use percent_encoding::percent_decode_str;

use super::{Address, Login, Place, RedisConfig, Server, secret::Secret};

type Result<T> = std::result::Result<T, ConfigError>;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The addresses that [`RedisConfig`] understands begin with one of these and `://`.
pub(crate) const SCHEMES: [&str; 5] = ["redis", "redis+sentinel", "rediss", "rediss+sentinel", "unix"];

const OPTIONS: [&str; 15] = [
    "byte_capacity",
    "capacity",
    "connect_timeout",
    "db",
    "expiry",
    "group_expiry",
    "heartbeat",
    "linger",
    "max_message",
    "mode",
    "prefix",
    "probe",
    "sentinel_password",
    "sentinel_username",
    "timeout",
];

pub(super) fn parse(address: &str) -> Result<RedisConfig> {
    let (scheme, rest) = address.split_once("://").unwrap_or_default();
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    let settings = settings(query)?;
    let places = match scheme {
        "redis" => servers(location, false)?,
        "rediss" => servers(location, true)?,
        "redis+sentinel" => sentinels(location, false, &settings)?,
        "rediss+sentinel" => sentinels(location, true, &settings)?,
        "unix" => vec![unix(location, &settings)?],
        _ => return Err(unknown_scheme(scheme)),
    };
    if !cfg!(feature = "tls") && scheme.starts_with("rediss") {
        return Err(invalid("rediss", "this build has no TLS: switch on the feature `tls`"));
    }
    settings.iter().try_fold(RedisConfig::at(places), |config, (name, value)| apply(config, name, value))
}

fn servers(location: &str, tls: bool) -> Result<Vec<Place>> {
    let (login, hosts, path) = split(location)?;
    let login = Login { database: database(path)?, ..login };
    let single = |host| Ok(Place::Single(server(host, REDIS_PORT, tls, login.clone())?));
    hosts.split(',').map(single).collect()
}

fn sentinels(location: &str, tls: bool, settings: &[(String, String)]) -> Result<Vec<Place>> {
    let (login, hosts, path) = split(location)?;
    let (services, path) = path.split_once('/').unwrap_or((path, ""));
    if services.is_empty() {
        return Err(invalid("service", "the master's name is missing, as in `/mymaster`"));
    }
    let login = Login { database: database(path)?, ..login };
    let own = Login {
        username: setting(settings, "sentinel_username").map(str::to_owned),
        password: setting(settings, "sentinel_password").map(|text| Secret::new(text.to_owned())),
        database: 0,
    };
    let sentinel = |host| server(host, SENTINEL_PORT, tls, own.clone());
    let sentinels = hosts.split(',').map(sentinel).collect::<Result<Vec<_>>>()?;
    let place = |service| {
        let service = decode("service", service)?;
        Ok(Place::Sentinel { sentinels: sentinels.clone(), service, login: login.clone() })
    };
    services.split(',').map(place).collect()
}

fn unix(location: &str, settings: &[(String, String)]) -> Result<Place> {
    let (login, path) = match location.rsplit_once('@') {
        Some((login, path)) => (parse_login(login)?, path),
        None => (Login::default(), location),
    };
    if !path.starts_with('/') {
        return Err(invalid("path", "the socket's absolute path is missing"));
    }
    let login = Login { database: database(setting(settings, "db").unwrap_or_default())?, ..login };
    Ok(Place::Single(Server { address: Address::Unix(decode("path", path)?.into()), login }))
}

/// Login, hosts and path of `USER:PASSWORD@HOSTS/PATH`.
fn split(location: &str) -> Result<(Login, &str, &str)> {
    // The last `@`, because people forget to encode the one in their password.
    let (login, rest) = match location.rsplit_once('@') {
        Some((login, rest)) => (parse_login(login)?, rest),
        None => (Login::default(), location),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((login, hosts, path))
}

fn parse_login(text: &str) -> Result<Login> {
    let (username, password) = text.split_once(':').unwrap_or((text, ""));
    let some = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => decode(name, text).map(Some),
    };
    Ok(Login {
        username: some("username", username)?,
        password: some("password", password)?.map(Secret::new),
        database: 0,
    })
}

fn server(host: &str, default_port: u16, tls: bool, login: Login) -> Result<Server> {
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(invalid("host", "there is none"));
    }
    let port = port.map_or(Ok(default_port), |port| number("port", port))?;
    Ok(Server { address: Address::Tcp { host: decode("host", host)?, port, tls }, login })
}

fn database(text: &str) -> Result<i64> {
    if text.is_empty() { Ok(0) } else { number("db", text) }
}

fn settings(query: &str) -> Result<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((name.to_owned(), decode(name, value)?))
        })
        .collect()
}

fn setting<'a>(settings: &'a [(String, String)], name: &str) -> Option<&'a str> {
    settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn apply(config: RedisConfig, name: &str, value: &str) -> Result<RedisConfig> {
    Ok(match name {
        "byte_capacity" => config.with_byte_capacity(number(name, value)?),
        "capacity" => config.with_capacity(number(name, value)?),
        "connect_timeout" => config.with_connect_timeout(seconds(name, value)?),
        "expiry" => config.with_expiry(seconds(name, value)?),
        "group_expiry" => config.with_group_expiry(seconds(name, value)?),
        "heartbeat" => config.with_heartbeat(seconds(name, value)?),
        "linger" => config.with_linger(seconds(name, value)?),
        "max_message" => config.with_max_message(number(name, value)?),
        "prefix" => config.with_prefix(value),
        "probe" => config.with_probe(seconds(name, value)?),
        "timeout" => config.with_timeout(seconds(name, value)?),
        "db" | "sentinel_password" | "sentinel_username" => config,
        "mode" if value == "native" => config,
        "mode" if matches!(value, "core" | "pubsub") => {
            return Err(invalid(name, "the modes `core` and `pubsub` do not exist yet"));
        }
        "mode" => return Err(invalid(name, "must be `native`")),
        _ => return Err(unknown_option(name)),
    })
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| invalid(name, "must be a number"))
}

fn seconds(name: &str, text: &str) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(number(name, text)?).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| invalid(name, "must be a time above zero, in seconds"))
}

fn decode(name: &str, text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| invalid(name, "must be UTF-8, percent-encoded"))
}

/// Names the option and never its value, which may be a password.
fn invalid(option: &str, reason: &str) -> ConfigError {
    ConfigError::Option { option: option.to_owned(), reason: reason.to_owned() }
}

fn unknown_option(option: &str) -> ConfigError {
    ConfigError::UnknownOption { option: option.to_owned(), known: OPTIONS.map(str::to_owned).to_vec() }
}

fn unknown_scheme(scheme: &str) -> ConfigError {
    ConfigError::UnknownScheme { scheme: scheme.to_owned(), known: SCHEMES.map(str::to_owned).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(address: &str) -> Vec<String> {
        let config = parse(address).unwrap();
        let show = |place: &Place| match place {
            Place::Single(server) => format!("{}/{}", server.address, server.login.database),
            Place::Sentinel { sentinels, service, login } => {
                let sentinels: Vec<_> = sentinels.iter().map(|s| s.address.to_string()).collect();
                format!("{service} by {} /{}", sentinels.join(" "), login.database)
            }
        };
        config.places.iter().map(show).collect()
    }

    #[test]
    fn every_form_of_address_is_understood() {
        assert_eq!(addresses("redis://h"), ["h:6379/0"]);
        assert_eq!(addresses("redis://u:p@h:1/2"), ["h:1/2"]);
        assert_eq!(addresses("redis://[::1]:7/1"), ["::1:7/1"]);
        assert_eq!(addresses("redis://a:1,b:2/3"), ["a:1/3", "b:2/3"]);
        assert_eq!(addresses("unix:///run/r.sock?db=4"), ["/run/r.sock/4"]);
        assert_eq!(addresses("redis+sentinel://a,b:7/m/5"), ["m by a:26379 b:7 /5"]);
        assert_eq!(addresses("redis+sentinel://a/m,n"), ["m by a:26379 /0", "n by a:26379 /0"]);
    }

    #[test]
    fn settings_are_read_and_typing_errors_are_not_passed_over() {
        let config = parse("redis://h?prefix=a%3Ab&capacity=7&expiry=0.5&mode=native").unwrap();
        assert_eq!((config.prefix.as_str(), config.layer.capacity), ("a:b", 7));
        assert_eq!(config.layer.expiry, Duration::from_millis(500));
        let unknown = parse("redis://h?capacty=7").unwrap_err();
        assert!(matches!(unknown, ConfigError::UnknownOption { option, .. } if option == "capacty"));
        for option in OPTIONS {
            let known = parse(&format!("redis://h?{option}=x"));
            assert!(!matches!(known, Err(ConfigError::UnknownOption { .. })), "{option}");
        }
        for bad in ["h", "http://h", "redis://", "redis://h:x", "redis+sentinel://h", "unix://relative"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in ["capacity=-1", "expiry=0", "expiry=nan", "timeout=-2", "mode=fast", "prefix=%ff"] {
            assert!(parse(&format!("redis://h?{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_decoded_and_never_shown() {
        let addresses = [
            "redis://user:can%40ary@h:1/0",
            "redis://:can@ary@h,g",
            "unix://:can@ary@/run/r.sock",
            "redis+sentinel://:can%40ary@h/m?sentinel_password=can%40ary",
        ];
        for address in addresses {
            let config = parse(address).unwrap();
            let login = match &config.places[0] {
                Place::Single(server) => &server.login,
                Place::Sentinel { login, .. } => login,
            };
            assert_eq!(login.password.as_ref().unwrap().reveal(), "can@ary", "{address}");
            assert!(!format!("{config:?} {config:#?}").contains("ary"), "{address}");
        }
    }

    #[test]
    fn errors_never_hold_the_password() {
        for bad in
            ["redis://:canary@h:port", "redis://:canary@h/x", "redis://:canary@h?x=canary", "foo://:canary@h"]
        {
            let error = parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{bad}");
        }
    }
}
