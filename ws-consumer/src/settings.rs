//! [`ConnectionSettings`]: the channel layer, the mailbox and the limits of a connection.

use std::{fmt, sync::Arc};

use channel_layer::{ChannelLayer, MailboxOptions};

use crate::{limits::Limits, wire::OutputLimits};

/// The settings of a connection: its channel layer, the options of its mailbox, and its limits. Those of a service are
/// changed by the [`ConnectionOptions`](crate::ConnectionOptions) around an application. Clones are the same.
#[derive(Clone)]
pub struct ConnectionSettings(Arc<SettingsParts>);

struct SettingsParts {
    layer: Arc<dyn ChannelLayer>,
    mailbox: MailboxOptions,
    limits: SharedLimits,
}

/// Limits in the shapes in which connections share them.
#[derive(Clone)]
struct SharedLimits {
    limits: Arc<Limits>,
    /// The limits of connections that carry sessions.
    carriers: Arc<Limits>,
    output: Arc<OutputLimits>,
}

impl From<Limits> for SharedLimits {
    fn from(limits: Limits) -> Self {
        let limits = limits.with_times_cut();
        let (carriers, output) = (limits.without_lifetime().into(), limits.output.clone().into());
        Self { limits: limits.into(), carriers, output }
    }
}

impl ConnectionSettings {
    pub(crate) fn new(layer: Arc<dyn ChannelLayer>, limits: Limits) -> Self {
        Self(Arc::new(SettingsParts { layer, mailbox: MailboxOptions::default(), limits: limits.into() }))
    }

    /// Returns settings that differ in these parts. `None` keeps what there is.
    pub(crate) fn changed(
        &self,
        layer: Option<&Arc<dyn ChannelLayer>>,
        mailbox: Option<MailboxOptions>,
        limits: Option<Limits>,
    ) -> Self {
        let SettingsParts { layer: same_layer, mailbox: same_mailbox, limits: same_limits } = &*self.0;
        Self(Arc::new(SettingsParts {
            layer: layer.unwrap_or(same_layer).clone(),
            mailbox: mailbox.unwrap_or_else(|| same_mailbox.clone()),
            limits: limits.map_or_else(|| same_limits.clone(), SharedLimits::from),
        }))
    }

    /// The channel layer.
    pub fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.0.layer
    }

    /// The options of the mailbox behind the connection's channel.
    pub fn mailbox(&self) -> &MailboxOptions {
        &self.0.mailbox
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.0.limits.limits
    }

    pub(crate) fn shared_limits(&self) -> &Arc<Limits> {
        &self.0.limits.limits
    }

    /// The limits of a connection that carries a session with these settings.
    pub(crate) fn carrier_limits(&self) -> &Arc<Limits> {
        &self.0.limits.carriers
    }

    pub(crate) fn output(&self) -> &Arc<OutputLimits> {
        &self.0.limits.output
    }

    /// Whether both are clones of one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Creates the settings of a layer, with the default [`Limits`].
impl From<Arc<dyn ChannelLayer>> for ConnectionSettings {
    fn from(layer: Arc<dyn ChannelLayer>) -> Self {
        Self::new(layer, Limits::default())
    }
}

impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSettings")
            .field("mailbox", self.mailbox())
            .field("limits", self.limits())
            .finish_non_exhaustive()
    }
}
