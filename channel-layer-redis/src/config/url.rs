//! Parses addresses into configurations.

use std::{str::FromStr, time::Duration};

use channel_layer::{
    ConfigError, Error, Result,
    backbone::HubOptions,
    registry::{Address, Options},
};
use percent_encoding::percent_decode_str;

use super::{
    host::{HostConfig, Login, Server, ServerAddress},
    mode::RedisMode,
    redis_config::RedisConfig,
    secret::Secret,
    tls,
};
use crate::format::{Keyring, MessageCodec};

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The schemes of the addresses that [`RedisConfig`] understands.
pub(crate) const SCHEMES: [&str; 5] = ["redis", "redis+sentinel", "rediss", "rediss+sentinel", "unix"];

fn parse(text: &str) -> Result<RedisConfig> {
    let (hosts, mut options) = begin(text)?;
    let config = apply(RedisConfig::new(hosts), &mut options)?;
    let config = apply_django(config, &mut options)?;
    let further = options.take_all("host");
    let tls = tls::take(&mut options)?;
    options.finish()?;
    let config = further.iter().try_fold(config, |config, host| config.and_host(host))?;
    match tls {
        Some((option, _)) if !config.hosts.iter().any(HostConfig::is_tls) => {
            Err(invalid(option, "no server is reached over TLS: use `rediss`"))
        }
        Some((_, tls)) => Ok(RedisConfig { tls, ..config }),
        None => Ok(config),
    }
}

impl FromStr for RedisConfig {
    type Err = Error;

    fn from_str(address: &str) -> Result<Self, Error> {
        parse(address)
    }
}

impl TryFrom<&str> for RedisConfig {
    type Error = Error;

    fn try_from(address: &str) -> Result<Self, Error> {
        parse(address)
    }
}

impl RedisConfig {
    /// Appends the servers of another address: one more entry of Django's `hosts`. The address may have no options
    /// except those of its servers: `db`, `sentinel_username` and `sentinel_password`.
    ///
    /// The order is significant: all processes need the same list.
    ///
    /// # Errors
    /// [`Config`](Error::Config) for an invalid address.
    pub fn and_host(mut self, address: &str) -> Result<Self, Error> {
        self.hosts.extend(parse_host(address)?);
        Ok(self)
    }
}

/// The servers of an address without settings of a layer.
fn parse_host(text: &str) -> Result<Vec<HostConfig>> {
    let (hosts, options) = begin(text)?;
    options.finish()?;
    Ok(hosts)
}

/// The servers of an address, and the remaining options.
fn begin(text: &str) -> Result<(Vec<HostConfig>, Options)> {
    let address = Address::parse(text);
    let scheme = address.scheme();
    let location = address.base().get(scheme.len() + 3..).unwrap_or_default();
    refuse_torn(text)?;
    refuse_undecodable(text)?;
    let mut options = address.options();
    let hosts = match scheme {
        "redis" => servers(location, false, &mut options)?,
        "rediss" => servers(location, true, &mut options)?,
        "redis+sentinel" => sentinels(location, false, &mut options)?,
        "rediss+sentinel" => sentinels(location, true, &mut options)?,
        "unix" => vec![unix(location, &mut options)?],
        _ => return Err(unknown_scheme(scheme)),
    };
    if !cfg!(feature = "tls") && scheme.starts_with("rediss") {
        return Err(invalid("rediss", "this build has no TLS: switch on the feature `tls`"));
    }
    Ok((hosts, options))
}

/// Refuses options that do not decode to UTF-8: their values would silently change.
fn refuse_undecodable(text: &str) -> Result<()> {
    let mut options = text.split_once('?').map_or("", |(_, options)| options).split('&');
    match options.find(|option| percent_decode_str(option).decode_utf8().is_err()) {
        Some(option) => decode(option.split('=').next().unwrap_or_default(), option).map(drop),
        None => Ok(()),
    }
}

/// Refuses an address whose login contains a `?`: the rest of a password would be reported as an unknown option.
fn refuse_torn(text: &str) -> Result<()> {
    let names = text.split('?').skip(1).flat_map(|options| options.split('&'));
    match names.filter_map(|option| option.split('=').next()).any(|name| name.contains('@')) {
        true => Err(invalid("password", "a `?` in it must be written `%3F`")),
        false => Ok(()),
    }
}

fn apply_django(config: RedisConfig, options: &mut Options) -> Result<RedisConfig> {
    let mode = options.take("mode")?.unwrap_or(config.mode);
    let serializer = options.take("serializer_format")?;
    let keys = options.take_all("symmetric_encryption_keys");
    // Python treats a negative one as zero.
    let random_prefix = options.take::<i64>("random_prefix_length")?;
    let is_foreign = serializer.is_some() || !keys.is_empty() || random_prefix.is_some();
    if mode == RedisMode::Native && is_foreign {
        let reason =
            "serializer_format, symmetric_encryption_keys and random_prefix_length need core or pubsub";
        return Err(invalid("mode", reason));
    }
    Ok(RedisConfig {
        mode,
        codec: serializer.map_or(config.codec, MessageCodec::BuiltIn),
        keys: Keyring::new(keys),
        random_prefix_length: random_prefix
            .map_or(config.random_prefix_length, |length| usize::try_from(length).unwrap_or(0)),
        ..config
    })
}

fn apply(config: RedisConfig, options: &mut Options) -> Result<RedisConfig> {
    let mut hub = HubOptions::new(options.layer_config()?);
    let prefix = options.take("prefix")?.unwrap_or(config.prefix);
    hub.timeout = time(options, "timeout")?.unwrap_or(hub.timeout);
    hub.connect_timeout = time(options, "connect_timeout")?.unwrap_or(hub.connect_timeout);
    hub.heartbeat = time(options, "heartbeat")?.unwrap_or(hub.heartbeat);
    hub.probe = time(options, "probe")?.unwrap_or(hub.probe);
    hub.linger = options.take_duration("linger")?.unwrap_or(hub.linger);
    hub.max_message = max_message(options)?.unwrap_or(hub.max_message);
    Ok(RedisConfig { hub, prefix, ..config })
}

fn max_message(options: &mut Options) -> Result<Option<usize>> {
    match options.take("max_message")? {
        Some(bytes) if bytes < HubOptions::MIN_MESSAGE => {
            Err(invalid("max_message", &format!("it must be {} or more", HubOptions::MIN_MESSAGE)))
        }
        bytes => Ok(bytes),
    }
}

/// A time that must not be zero: a deadline would never be met, or an interval would never pause.
fn time(options: &mut Options, option: &str) -> Result<Option<Duration>> {
    match options.take_duration(option)? {
        Some(Duration::ZERO) => Err(invalid(option, "it must be above zero")),
        time => Ok(time),
    }
}

fn servers(location: &str, tls: bool, options: &mut Options) -> Result<Vec<HostConfig>> {
    let (login, hosts, path) = split(location)?;
    let login = complete(login, path, options)?;
    let single = |host| Ok(HostConfig::Single(server(host, REDIS_PORT, tls, login.clone())?));
    hosts.split(',').map(single).collect()
}

fn sentinels(location: &str, tls: bool, options: &mut Options) -> Result<Vec<HostConfig>> {
    let (login, hosts, path) = split(location)?;
    let (services, path) = path.split_once('/').unwrap_or((path, ""));
    if services.is_empty() {
        return Err(invalid("service", "the master's name is missing, as in `/mymaster`"));
    }
    let login = complete(login, path, options)?;
    let sentinel_login = Login {
        username: options.take("sentinel_username")?,
        password: options.take("sentinel_password")?.map(Secret::new),
        database: 0,
    };
    let sentinel = |host| server(host, SENTINEL_PORT, tls, sentinel_login.clone());
    let sentinels = hosts.split(',').map(sentinel).collect::<Result<Vec<_>>>()?;
    let master = |service: &str| {
        if service.is_empty() {
            return Err(invalid("service", "one of the masters' names is empty"));
        }
        let service = decode("service", service)?;
        Ok(HostConfig::Sentinel { sentinels: sentinels.clone(), service, login: login.clone() })
    };
    services.split(',').map(master).collect()
}

fn unix(location: &str, options: &mut Options) -> Result<HostConfig> {
    // A path may contain an `@` too: the login ends at the last one that a `/` follows.
    let (login, path) = match location.rfind("@/").filter(|_| !location.starts_with('/')) {
        Some(at) => (parse_login(&location[..at])?, &location[at + 1..]),
        None => (Login::default(), location),
    };
    if !path.starts_with('/') {
        return Err(invalid("path", "the socket's absolute path is missing"));
    }
    let login = complete(login, "", options)?;
    Ok(HostConfig::Single(Server { address: ServerAddress::Unix(decode("path", path)?.into()), login }))
}

/// Login, hosts and path of `USER:PASSWORD@HOSTS/PATH`.
fn split(location: &str) -> Result<(Login, &str, &str)> {
    // The last `@`, because one in a password is often not encoded.
    let (login, rest) = match location.rsplit_once('@') {
        Some((login, _)) if login.split_once('@').is_some_and(|(_, rest)| rest.contains(',')) => {
            return Err(invalid("host", "one login comes before all servers; others go into `host=`"));
        }
        Some((login, rest)) => (parse_login(login)?, rest),
        None => (Login::default(), location),
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((login, hosts, path))
}

fn parse_login(text: &str) -> Result<Login> {
    let (username, password) = text.split_once(':').unwrap_or((text, ""));
    if password.is_empty() && !username.is_empty() {
        // A lone username has no effect in Redis, and this text may be the password.
        return Err(invalid("password", "it is missing, as in `USER:PASSWORD@` or `:PASSWORD@`"));
    }
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
        Some((host, "")) => (host, None),
        Some((host, rest)) => {
            let port = rest.strip_prefix(':');
            (host, Some(port.ok_or_else(|| invalid("port", "a colon must come before it"))?))
        }
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(invalid("host", "it is missing"));
    }
    let port = port.map_or(Ok(default_port), |port| number("port", port))?;
    Ok(Server { address: ServerAddress::Tcp { host: decode("host", host)?, port, tls }, login })
}

/// Completes a login from the path and the options, as redis-py does: the option `db` overrides the path, the login
/// before the `@` overrides the options.
fn complete(login: Login, path: &str, options: &mut Options) -> Result<Login> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let database = options.take::<String>("db")?;
    let database = match database.as_deref().unwrap_or(path) {
        "" => 0,
        text => i64::from(number::<u32>("db", text)?),
    };
    let (username, password) = (options.take("username")?, options.take::<String>("password")?);
    Ok(Login {
        username: login.username.or(username),
        password: login.password.or(password.map(Secret::new)),
        database,
    })
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| invalid(name, "it must be a number"))
}

fn decode(name: &str, text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| invalid(name, "it must be UTF-8, percent-encoded"))
}

/// An error that names the option but not its value, which may be a password.
fn invalid(option: &str, reason: &str) -> Error {
    ConfigError::Option { option: option.to_owned(), reason: reason.to_owned() }.into()
}

fn unknown_scheme(scheme: &str) -> Error {
    ConfigError::UnknownScheme { scheme: scheme.to_owned(), known: SCHEMES.map(str::to_owned).to_vec() }
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(address: &str) -> Vec<String> {
        let config = parse(address).unwrap();
        let show = |host: &HostConfig| match host {
            HostConfig::Single(server) => format!("{}/{}", server.address, server.login.database),
            HostConfig::Sentinel { sentinels, service, login } => {
                let sentinels: Vec<_> = sentinels.iter().map(|s| s.address.to_string()).collect();
                format!("{service} by {} /{}", sentinels.join(" "), login.database)
            }
        };
        config.hosts.iter().map(show).collect()
    }

    #[test]
    fn every_address_form_parses() {
        assert_eq!(addresses("redis://h"), ["h:6379/0"]);
        assert_eq!(addresses("redis://u:p@h:1/2"), ["h:1/2"]);
        assert_eq!(addresses("redis://[::1]:7/1"), ["::1:7/1"]);
        assert_eq!(addresses("redis://a:1,b:2/3"), ["a:1/3", "b:2/3"]);
        assert_eq!(addresses("unix:///run/r.sock?db=4"), ["/run/r.sock/4"]);
        assert_eq!(addresses("redis+sentinel://a,b:7/m/5"), ["m by a:26379 b:7 /5"]);
        assert_eq!(addresses("redis://[::1]/1"), ["::1:6379/1"]);
        assert_eq!(addresses("unix:///run/user@1/r.sock"), ["/run/user@1/r.sock/0"]);
        assert_eq!(addresses("unix://u:p@w@/run/user@1/r.sock"), ["/run/user@1/r.sock/0"]);
        assert_eq!(
            addresses("redis://a?host=unix%3A%2F%2F%2Fs%3Fdb%3D2&host=redis://b:7/1"),
            ["a:6379/0", "/s/2", "b:7/1"]
        );
        assert_eq!(addresses("redis://h:1?db=2"), ["h:1/2"]);
        assert_eq!(addresses("redis://h:1/3/?db=2"), ["h:1/2"]);
        assert_eq!(addresses("redis://h/4/"), ["h:6379/4"]);
        assert_eq!(addresses("redis://h/"), ["h:6379/0"]);
        assert_eq!(addresses("redis+sentinel://a/m/5/"), ["m by a:26379 /5"]);
        assert_eq!(addresses("redis+sentinel://a/m?db=5"), ["m by a:26379 /5"]);
        assert_eq!(addresses("redis+sentinel://a/m,n"), ["m by a:26379 /0", "n by a:26379 /0"]);
    }

    #[test]
    fn unknown_settings_are_refused() {
        let config = parse("redis://h?prefix=a%3Ab&capacity=7&expiry=500ms&mode=native&linger=0").unwrap();
        assert_eq!((config.prefix.as_str(), config.hub.layer.capacity), ("a:b", 7));
        assert_eq!(
            (config.hub.layer.expiry, config.hub.linger),
            (Duration::from_millis(500), Duration::ZERO)
        );
        let unknown = parse("redis://h?capacty=7").unwrap_err().to_string();
        assert!(unknown.starts_with("unknown option `capacty` (known: "), "{unknown}");
        for bad in ["h", "http://h", "redis://", "redis://h:x", "redis+sentinel://h", "unix://relative"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in [
            "capacity=-1",
            "heartbeat=0",
            "expiry=nan",
            "timeout=-2",
            "mode=fast",
            "db=x",
            "db=-1",
            "max_message=99",
        ] {
            assert!(parse(&format!("redis://h?{bad}")).is_err(), "{bad}");
        }
        for bad in [
            "redis://[::1]6379",
            "redis://[::1",
            "redis://h:",
            "redis+sentinel://h/m,/1",
            "redis://a,,b",
            "redis://h/-1",
            "redis://h/1/2",
            "redis://h/x/",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let of_another = parse("redis://h?host=redis%3A%2F%2Fg%3Fprefix%3Dp").unwrap_err().to_string();
        assert!(of_another.starts_with("unknown option `prefix`"), "{of_another}");
    }

    #[test]
    fn passwords_are_decoded_and_hidden() {
        let addresses = [
            "redis://user:can%40ary@h:1/0",
            "redis://:can@ary@h,g",
            "unix://:can@ary@/run/r.sock",
            "redis+sentinel://:can%40ary@h/m?sentinel_password=can%40ary",
            "redis+sentinel://:can@ary@h,g/m?sentinel_password=can@ary",
        ];
        for address in addresses {
            let config = parse(address).unwrap();
            let login = match &config.hosts[0] {
                HostConfig::Single(server) => &server.login,
                HostConfig::Sentinel { login, .. } => login,
            };
            assert_eq!(login.password.as_ref().unwrap().reveal(), "can@ary", "{address}");
            assert!(!format!("{config:?} {config:#?}").contains("ary"), "{address}");
        }
    }

    #[test]
    fn plus_is_literal() {
        let config =
            parse("redis+sentinel://h/m?sentinel_password=a+b/c==&host=redis+sentinel://g/n").unwrap();
        let HostConfig::Sentinel { sentinels, .. } = &config.hosts[0] else { panic!("{config:?}") };
        assert_eq!(sentinels[0].login.password.as_ref().unwrap().reveal(), "a+b/c==");
        assert_eq!(config.hosts.len(), 2);
    }

    #[test]
    fn errors_hide_the_password() {
        for bad in [
            "redis://:canary@h:port",
            "redis://:canary@h/x",
            "redis://:canary@h?x=canary",
            "foo://:canary@h",
            "redis://u:1?canary@h",
            "redis://canary@h",
            "redis://u:canary@h,u:canary@g",
            "redis://h?host=redis://u:1?canary@g",
            "unix://:canary@run/r.sock",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{bad}");
        }
    }
}
