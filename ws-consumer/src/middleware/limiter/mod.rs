//! Limits of connections and of what they send.

mod bucket;
mod excess;
mod table;

use std::{
    mem,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use http::{HeaderValue, StatusCode, header};
use tokio::time::Instant;

pub use self::{bucket::Rate, excess::OverLimit};
use self::{
    bucket::{TokenBucket, nanoseconds},
    excess::RateExcess,
    table::BucketTable,
};
use super::{guard::Guard, proxy::TrustedProxies, request::GuardRequest};
use crate::{
    connections::{AddressCounts, CountedAddress},
    error::LogLimit,
    frame::Frame,
    scope::{Scope, UserId, counted_address},
    wire::{Refuse, Verdict},
};

/// The number of addresses and of users that are remembered.
const KEYS: usize = 100_000;

/// Limits for connections, addresses and users. Each limit is off until it is set.
///
/// A message over a limit closes the connection with code 1013, after which clients reconnect later. [`OverLimit`] has other
/// treatments. On plain HTTP every request counts as a message, and a request over the limit is refused with 429, as is a
/// connection over the limit.
///
/// All IPv6 addresses of a /64 count as one, as they belong to one customer. About 100,000 addresses and as many users are
/// remembered, in a few megabytes. An entry unused for the refill time of its bucket is dropped, and each lookup takes
/// constant time.
///
/// Users are identified by a guard further out: see [`UserId`]. The client's address is the one reported by
/// [`TrustedProxies`], or else the [`Peer`](crate::Peer)'s. Where neither is known, a limit per address refuses with 500 and
/// logs the reason; behind a trusted Unix socket, clients that the proxy does not name count as one.
///
/// ```
/// use ws_consumer::{Router, middleware::{Guard, Limiter, Rate}};
///
/// let limits = Limiter::new()
///     .connections_per_address(32)
///     .messages_per_connection(Rate::per_second(20).burst(100))
///     .bytes_per_address(Rate::per_second(1 << 20));
/// let application = limits.around(Router::new());
/// ```
pub struct Limiter {
    connections: Option<u32>,
    addresses: AddressCounts,
    proxies: TrustedProxies,
    over: OverLimit,
    rates: Rates,
    tables: Arc<Tables>,
    beginning: Instant,
    /// Requests without an address.
    nameless: LogLimit,
}

#[derive(Clone, Copy, Default)]
struct Rates {
    messages: Option<Rate>,
    bytes: Option<Rate>,
}

#[derive(Default)]
struct Tables {
    address: TablePair,
    user: TablePair,
}

#[derive(Default)]
struct TablePair {
    messages: Option<BucketTable>,
    bytes: Option<BucketTable>,
}

impl Limiter {
    /// Creates a limiter without limits.
    pub fn new() -> Self {
        Self {
            connections: None,
            addresses: AddressCounts::default(),
            proxies: TrustedProxies::default(),
            over: OverLimit::default(),
            rates: Rates::default(),
            tables: Arc::default(),
            beginning: Instant::now(),
            nameless: LogLimit::default(),
        }
    }

    /// Limits the concurrent connections of an address.
    pub fn connections_per_address(mut self, count: u32) -> Self {
        self.connections = Some(count);
        self
    }

    /// Limits the messages of a connection.
    pub fn messages_per_connection(mut self, rate: Rate) -> Self {
        self.rates.messages = Some(rate);
        self
    }

    /// Limits the bytes in the messages of a connection. A burst is also the size of the largest message.
    pub fn bytes_per_connection(mut self, rate: Rate) -> Self {
        self.rates.bytes = Some(rate);
        self
    }

    /// Limits the messages of all connections of an address.
    pub fn messages_per_address(self, rate: Rate) -> Self {
        self.with(|tables| tables.address.messages = Some(BucketTable::new(rate, KEYS)))
    }

    /// Limits the bytes in the messages of all connections of an address.
    pub fn bytes_per_address(self, rate: Rate) -> Self {
        self.with(|tables| tables.address.bytes = Some(BucketTable::new(rate, KEYS)))
    }

    /// Limits the messages of all connections of a user.
    pub fn messages_per_user(self, rate: Rate) -> Self {
        self.with(|tables| tables.user.messages = Some(BucketTable::new(rate, KEYS)))
    }

    /// Limits the bytes in the messages of all connections of a user.
    pub fn bytes_per_user(self, rate: Rate) -> Self {
        self.with(|tables| tables.user.bytes = Some(BucketTable::new(rate, KEYS)))
    }

    /// Sets the treatment of messages over the limit, instead of a close with 1013.
    ///
    /// ```
    /// use ws_consumer::middleware::{Limiter, OverLimit, Rate};
    ///
    /// let limits = Limiter::new().messages_per_user(Rate::per_second(5).burst(20)).over_limit(OverLimit::Answer);
    /// ```
    pub fn over_limit(mut self, over: OverLimit) -> Self {
        self.over = over;
        self
    }

    /// Closes connections over a limit with this code: see [`OverLimit::Close`].
    pub fn close_code(self, code: u16) -> Self {
        self.over_limit(OverLimit::Close(code))
    }

    /// Trusts these proxies about the client's address, instead of those of
    /// [`Protocols::trust`](crate::Protocols::trust).
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Returns the address under which connections and messages are counted, or `None` if no limit is per address.
    fn address(&self, request: &GuardRequest<'_>) -> Result<Option<IpAddr>, StatusCode> {
        let TablePair { messages, bytes } = &self.tables.address;
        if self.connections.is_none() && messages.is_none() && bytes.is_none() {
            return Ok(None);
        }
        let proxies = self.proxies.or_from(request.extensions);
        match proxies.client(request.peer, request.headers) {
            Some(address) => Ok(Some(counted_address(address))),
            // A request that names no client comes from the proxy's machine itself.
            None if proxies.trusts(None) => Ok(Some(Ipv6Addr::UNSPECIFIED.into())),
            None => {
                let Some(refused) = self.nameless.count() else {
                    return Err(StatusCode::INTERNAL_SERVER_ERROR);
                };
                tracing::error!(
                    refused,
                    "there are limits per address, and the address of this client is unknown: with axum use \
                     the feature `axum` and `into_make_service_with_connect_info::<SocketAddr>()`, elsewhere put a \
                     `Peer` into the request's extensions, and for a proxy behind a Unix socket trust `unix:`"
                );
                Err(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    fn with(mut self, set: impl FnOnce(&mut Tables)) -> Self {
        set(Arc::get_mut(&mut self.tables).expect("shared only once the guard is in use"));
        self
    }

    fn meter(&self, address: Option<IpAddr>, user: Option<UserId>) -> RateMeter {
        RateMeter {
            rates: self.rates,
            connection: Default::default(),
            tables: self.tables.clone(),
            address,
            user,
            beginning: self.beginning,
        }
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

impl Guard for Limiter {
    async fn admit(&self, request: &mut GuardRequest<'_>) -> Result<(), Refuse> {
        let address = self.address(request)?;
        let mut meter = self.meter(address, request.extensions.get::<UserId>().cloned());
        if !request.is_websocket() {
            return meter.take(0).map_err(|excess| too_many(excess.seconds()));
        }
        // A session that goes on has its place already.
        if let (Some(most), Some(address), false) = (self.connections, address, request.is_recheck()) {
            let counted = self.addresses.enter(address, most as usize).ok_or_else(|| too_many(1))?;
            request.extensions.insert(ConnectionSlot { _counted: Arc::new(counted) });
        }
        let (over, mut logged) = (self.over, false);
        request.meter(move |frame: &Frame| {
            let Err(excess) = meter.judge(frame.len() as u64, over) else { return Verdict::Pass };
            // Logged once per connection: most clients over a limit keep sending.
            if !mem::replace(&mut logged, true) {
                tracing::info!(?address, what = excess.what, ?over, "a client sends too much");
            }
            excess.verdict(over, frame)
        });
        Ok(())
    }
}

/// The slot of a connection, kept with its scope.
#[derive(Clone)]
struct ConnectionSlot {
    _counted: Arc<CountedAddress>,
}

/// The buckets that the messages of a connection are taken from.
struct RateMeter {
    rates: Rates,
    connection: [TokenBucket; 2],
    tables: Arc<Tables>,
    address: Option<IpAddr>,
    user: Option<UserId>,
    beginning: Instant,
}

impl RateMeter {
    fn judge(&mut self, bytes: u64, over: OverLimit) -> Result<(), RateExcess> {
        match over {
            OverLimit::SlowDown => self.owe(bytes),
            _ => self.take(bytes),
        }
    }

    /// Takes from all buckets, even if they become empty; an error holds the time to wait.
    fn owe(&mut self, bytes: u64) -> Result<(), RateExcess> {
        let now = nanoseconds(self.beginning.elapsed());
        let of_connection = |bucket: &mut TokenBucket, rate: Option<Rate>, count| {
            rate.map_or(0, |rate| bucket.owe(rate, count, now))
        };
        let [messages, all_bytes] = &mut self.connection;
        let connection = [
            of_connection(messages, self.rates.messages, 1),
            of_connection(all_bytes, self.rates.bytes, bytes),
        ];
        let Tables { address, user } = &*self.tables;
        let address = owed(address, self.address.as_ref(), bytes, now);
        let user = owed(user, self.user.as_ref(), bytes, now);
        let longest = |of: usize| connection[of].max(address[of]).max(user[of]);
        match [longest(0), longest(1)] {
            [0, 0] => Ok(()),
            [messages, bytes] if messages >= bytes => Err(too_often(messages)),
            [_, bytes] => Err(too_much(bytes)),
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(), RateExcess> {
        let now = nanoseconds(self.beginning.elapsed());
        let of_connection = |bucket: &mut TokenBucket, rate: Option<Rate>, count| {
            rate.map_or(Ok(()), |rate| bucket.take(rate, count, now))
        };
        let [messages, all_bytes] = &mut self.connection;
        of_connection(messages, self.rates.messages, 1).map_err(too_often)?;
        of_connection(all_bytes, self.rates.bytes, bytes).map_err(too_much)?;
        let Tables { address, user } = &*self.tables;
        shared(address, self.address.as_ref(), bytes, now)?;
        shared(user, self.user.as_ref(), bytes, now)
    }
}

fn shared<K: std::hash::Hash>(
    pair: &TablePair,
    key: Option<&K>,
    bytes: u64,
    now: u64,
) -> Result<(), RateExcess> {
    let Some(key) = key else { return Ok(()) };
    let take = |table: &Option<BucketTable>, count| {
        table.as_ref().map_or(Ok(()), |table| table.take(key, count, now))
    };
    take(&pair.messages, 1).map_err(too_often)?;
    take(&pair.bytes, bytes).map_err(too_much)
}

fn owed<K: std::hash::Hash>(pair: &TablePair, key: Option<&K>, bytes: u64, now: u64) -> [u64; 2] {
    let owe = |table: &Option<BucketTable>, count| match (table, key) {
        (Some(table), Some(key)) => table.owe(key, count, now),
        _ => 0,
    };
    [owe(&pair.messages, 1), owe(&pair.bytes, bytes)]
}

fn too_often(nanoseconds: u64) -> RateExcess {
    RateExcess { what: "too many messages", nanoseconds }
}

fn too_much(nanoseconds: u64) -> RateExcess {
    RateExcess { what: "too many bytes", nanoseconds }
}

fn too_many(seconds: u64) -> Refuse {
    let mut refuse = Refuse::from(StatusCode::TOO_MANY_REQUESTS);
    refuse.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    refuse
}

impl Scope {
    /// The id of the client's user, if a guard has identified it.
    pub fn user_id(&self) -> Option<&str> {
        self.extensions.get::<UserId>().map(|id| &*id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn limits_are_independent() {
        let rate = || Rate::per_second(2);
        let (ann, bob) = (Some(UserId("ann".into())), Some(UserId("bob".into())));
        let (here, there) = (Some(IpAddr::from([1, 1, 1, 1])), Some(IpAddr::from([2, 2, 2, 2])));

        let limiter = Limiter::new().messages_per_address(rate());
        let [mut first, mut second, mut other] = [here, here, there].map(|at| limiter.meter(at, None));
        assert!(first.take(0).is_ok() && second.take(0).is_ok() && first.take(0).is_err());
        assert!(other.take(0).is_ok());

        let limiter = Limiter::new().bytes_per_user(rate());
        let [mut first, mut second, mut other] =
            [&ann, &ann, &bob].map(|who| limiter.meter(None, who.clone()));
        assert!(first.take(1).is_ok() && second.take(1).is_ok() && second.take(1).is_err());
        assert!(other.take(2).is_ok() && other.take(0).is_ok());

        let limiter =
            Limiter::new().messages_per_connection(rate()).bytes_per_connection(Rate::per_second(10));
        let mut meter = limiter.meter(None, None);
        assert_eq!(meter.take(11).unwrap_err().what, "too many bytes");
        assert!(meter.take(10).is_ok());
        assert_eq!(meter.take(0).unwrap_err().what, "too many messages");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(meter.take(10).is_ok());
    }
}
