//! The options of an address. They are taken one by one, so that unknown ones are detected.

use std::{fmt::Display, str::FromStr, time::Duration};

use crate::{
    backbone::HubOptions,
    config::{CapacityRules, LayerConfig, OverflowPolicy},
    error::{ConfigError, Result},
};

/// The options of an address.
///
/// A backend takes all options that it knows, then calls [`finish`](Self::finish), which fails if any are left.
#[derive(Clone)]
pub struct Options {
    left: Vec<(String, String)>,
    /// The options taken so far, for the error about an unknown one.
    known: Vec<String>,
}

impl Options {
    pub(super) fn parse(query: &str) -> Self {
        // No form writes addresses, and passwords contain a `+` more often than a space.
        let query = query.replace('+', "%2B");
        Self { left: form_urlencoded::parse(query.as_bytes()).into_owned().collect(), known: Vec::new() }
    }

    /// Takes an option that occurs at most once.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) for a value that does not parse as `T`, or for several values.
    pub fn take<T: FromStr<Err: Display>>(&mut self, option: &str) -> Result<Option<T>> {
        self.take_with(option, |value| value.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// Takes a time: `250ms`, `30s`, `5m`, `12h`, `1d`. A number without a unit means seconds.
    ///
    /// # Errors
    /// The errors of [`take`](Self::take).
    pub fn take_duration(&mut self, option: &str) -> Result<Option<Duration>> {
        self.take_with(option, duration)
    }

    /// Takes all values of an option that may be repeated.
    pub fn take_all(&mut self, option: &str) -> Vec<String> {
        self.known.push(option.to_owned());
        self.left.extract_if(.., |(key, _)| key == option).map(|(_, value)| value).collect()
    }

    /// Takes the options of [`LayerConfig`].
    ///
    /// # Errors
    /// The errors of [`take`](Self::take).
    pub fn layer_config(&mut self) -> Result<LayerConfig> {
        let default = LayerConfig::default();
        Ok(LayerConfig {
            capacity: self.take("capacity")?.unwrap_or(default.capacity),
            byte_capacity: self.take("byte_capacity")?.unwrap_or(default.byte_capacity),
            channel_capacity: self.channel_capacity()?,
            expiry: self.take_duration("expiry")?.unwrap_or(default.expiry),
            group_expiry: self.take_duration("group_expiry")?.unwrap_or(default.group_expiry),
            overflow: self.take_with("overflow", overflow)?.unwrap_or(default.overflow),
        })
    }

    /// Takes the options of [`HubOptions`]: those of [`layer_config`](Self::layer_config), `timeout`,
    /// `connect_timeout`, `heartbeat`, `probe` and `linger`, which are times, and `max_message`, in bytes.
    ///
    /// # Errors
    /// The errors of [`take`](Self::take).
    pub fn hub_options(&mut self) -> Result<HubOptions> {
        let mut options = HubOptions::new(self.layer_config()?);
        let times = [
            ("timeout", &mut options.timeout),
            ("connect_timeout", &mut options.connect_timeout),
            ("heartbeat", &mut options.heartbeat),
            ("probe", &mut options.probe),
            ("linger", &mut options.linger),
        ];
        for (option, time) in times {
            *time = self.take_duration(option)?.unwrap_or(*time);
        }
        options.max_message = self.take("max_message")?.unwrap_or(options.max_message);
        Ok(options)
    }

    /// Checks that all options were taken.
    ///
    /// # Errors
    /// [`Config`](crate::Error::Config) that names the first one left, and those that were taken.
    pub fn finish(self) -> Result<()> {
        match self.left.into_iter().next() {
            Some((option, _)) => Err(ConfigError::UnknownOption { option, known: self.known }.into()),
            None => Ok(()),
        }
    }

    fn take_with<T>(
        &mut self,
        option: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let wrong = |reason| ConfigError::Option { option: option.to_owned(), reason };
        match &self.take_all(option)[..] {
            [] => Ok(None),
            [value] => Ok(Some(parse(value).map_err(wrong)?)),
            _ => Err(wrong("it occurs more than once".to_owned()).into()),
        }
    }

    fn channel_capacity(&mut self) -> Result<CapacityRules> {
        let mut rules = CapacityRules::default();
        for rule in self.take_all("channel_capacity") {
            let parsed = rule.rsplit_once(':').and_then(|(glob, n)| Some((glob, n.parse().ok()?)));
            let wrong = || ConfigError::Option {
                option: "channel_capacity".to_owned(),
                reason: "it must be a pattern, a colon and a number".to_owned(),
            };
            let (glob, capacity) = parsed.ok_or_else(wrong)?;
            rules = rules.glob(glob, capacity)?;
        }
        Ok(rules)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("it must be a number with ms, s, m, h or d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "it must begin with a number".to_owned())?;
    number.checked_mul(millis_per_unit).map(Duration::from_millis).ok_or_else(|| "it is too long".to_owned())
}

fn overflow(text: &str) -> Result<OverflowPolicy, String> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("close", "") => Ok(OverflowPolicy::Close),
        ("drop-oldest", "") => Ok(OverflowPolicy::DropOldest),
        ("refuse-newest", "") => Ok(OverflowPolicy::RefuseNewest),
        ("keep-latest", field) if !field.is_empty() => Ok(OverflowPolicy::keep_latest(field)),
        _ => Err("it must be close, drop-oldest, refuse-newest, or keep-latest: and a field".to_owned()),
    }
}
