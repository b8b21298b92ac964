//! [`ConnectionOptions`]: a channel layer, a mailbox and limits for the connections of one application.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use channel_layer::{ChannelLayer, ChannelLayerExt, MailboxOptions};

use crate::{
    application::Application, limits::Limits, scope::Scope, settings::ConnectionSettings, socket::Context,
    wire::Running,
};

/// The options of the connections of one application, in place of the service's: its channel layer (Django Channels'
/// `channel_layer_alias`), the mailbox behind each connection's channel, and the limits.
///
/// ```
/// use std::time::Duration;
/// use channel_layer::{MailboxOptions, MemoryLayer};
/// use ws_consumer::{ConnectionOptions, Consumer, NoEvents, OverflowPolicy, Router, consumer};
/// # #[derive(Default)] struct Prices; impl Consumer for Prices { type Event = NoEvents; }
/// # #[derive(Default)] struct Upload; impl Consumer for Upload { type Event = NoEvents; }
///
/// let prices = MemoryLayer::default(); // or `registry.layer("prices").await?`
/// let latest = MailboxOptions::default().with_capacity(20).with_overflow(OverflowPolicy::DropOldest);
/// let router = Router::new()
///     .consumer("/prices", Prices::default)
///     .options(ConnectionOptions::new().layer(prices).mailbox(latest))
///     .consumer("/upload", Upload::default)
///     .options(ConnectionOptions::new().limits(|limits| {
///         limits.max_message_size = 16 << 20;
///         limits.idle_timeout = Some(Duration::from_secs(60));
///     }));
///
/// // around any application, also outside of a router
/// let application = ConnectionOptions::new().limits(|limits| limits.max_fragments = 1).around(router);
/// # let _ = application;
/// ```
///
/// Options apply from the handshake on, to WebSockets, resumable sessions over any transport, and plain requests. Options further in
/// take precedence over those around them.
///
/// # Layers
///
/// Everything that the connection does with channels, groups and users happens in its layer, and so do the
/// [events](crate::Consumer::layer_event) of its backend. While the layer has lost its backend, new sockets of these
/// applications are refused with 503; those of others are not. `/readyz` asks all layers. Resumable sessions find each other's
/// processes through the service's layer, whatever their own.
///
/// # Limits
///
/// A plain request has its `message_timeout` and its `output` from here. The time limit for clients that take no response is the service's.
/// Topics behind a [`Multiplexer`](crate::Multiplexer) have the limits of their socket, and their own layer and mailbox.
#[derive(Clone, Default)]
#[must_use = "options have no effect until they are around an application"]
pub struct ConnectionOptions {
    layer: Option<Arc<dyn ChannelLayer>>,
    mailbox: Option<MailboxOptions>,
    limits: Vec<LimitsChange>,
}

type LimitsChange = Arc<dyn Fn(&mut Limits) + Send + Sync>;

impl ConnectionOptions {
    /// Options that change nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the channel layer.
    pub fn layer(mut self, layer: impl ChannelLayer) -> Self {
        self.layer = Some(layer.into_shared());
        self
    }

    /// Sets the options of the mailbox behind a connection's channel. Bounds that are not set are those around the application,
    /// and finally the layer's.
    pub fn mailbox(mut self, mailbox: MailboxOptions) -> Self {
        self.mailbox = Some(mailbox);
        self
    }

    /// Changes the limits: `change` gets those around the application.
    pub fn limits(mut self, change: impl Fn(&mut Limits) + Send + Sync + 'static) -> Self {
        self.limits.push(Arc::new(change));
        self
    }

    /// Gives these options to the connections of an application.
    pub fn around(self, application: impl Application) -> impl Application {
        WithOptions { options: self, inner: application, made: OnceLock::new() }
    }

    fn apply(&self, settings: &ConnectionSettings) -> ConnectionSettings {
        let mailbox = self.mailbox.clone().map(|mailbox| filled_from(mailbox, settings.mailbox()));
        let limits = (!self.limits.is_empty()).then(|| {
            let mut limits = settings.limits().clone();
            self.limits.iter().for_each(|change| change(&mut limits));
            limits
        });
        settings.changed(self.layer.as_ref(), mailbox, limits)
    }
}

/// Takes the bounds that are not set from those around.
fn filled_from(mut mailbox: MailboxOptions, around: &MailboxOptions) -> MailboxOptions {
    mailbox.capacity = mailbox.capacity.or(around.capacity);
    mailbox.byte_capacity = mailbox.byte_capacity.or(around.byte_capacity);
    mailbox.overflow = mailbox.overflow.or_else(|| around.overflow.clone());
    mailbox
}

impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionOptions").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

/// An application with options. Made by [`ConnectionOptions::around`].
struct WithOptions<A> {
    options: ConnectionOptions,
    inner: A,
    /// The settings around the application at its first connection, and those made of them. They are a service's, so that
    /// its connections share what was made once.
    made: OnceLock<(ConnectionSettings, ConnectionSettings)>,
}

#[deny(clippy::missing_trait_methods)]
impl<A: Application> Application for WithOptions<A> {
    fn call(&self, context: Context) -> Running {
        self.inner.call(context)
    }

    fn settings_at(&self, scope: &Scope, around: ConnectionSettings) -> ConnectionSettings {
        let make = || (around.clone(), self.options.apply(&around));
        let (from, made) = self.made.get_or_init(make);
        let made = if from.is_same(&around) { made.clone() } else { self.options.apply(&around) };
        self.inner.settings_at(scope, made)
    }

    fn own_layers(&self) -> Vec<Arc<dyn ChannelLayer>> {
        let mut layers = self.inner.own_layers();
        layers.extend(self.options.layer.clone());
        layers
    }

    fn uses_ambient_credentials(&self) -> bool {
        self.inner.uses_ambient_credentials()
    }

    fn uses_ambient_credentials_at(&self, scope: &Scope) -> bool {
        self.inner.uses_ambient_credentials_at(scope)
    }

    fn claims(&self, scope: &Scope) -> bool {
        self.inner.claims(scope)
    }
}
