//! The server's part in a test: it opens connections for an application, and forwards the layer's events.

use std::sync::Arc;

use channel_layer::ChannelLayer;

use super::ApplicationCommunicator;
use crate::{
    application::Application,
    connections::{Connections, EventForwarding},
    resume::{self, Resume, SessionParts, SessionService},
    scope::{Protocol, Scope},
    settings::ConnectionSettings,
    socket::{Context, Socket},
    wire::Profile,
};

/// The application and the layer that the clients of one test share. Clones are the same.
#[derive(Clone)]
pub(super) struct TestHost(Arc<SharedHost>);

struct SharedHost {
    application: Arc<dyn Application>,
    settings: ConnectionSettings,
    connections: Connections,
    resume: Option<Resume>,
    /// Resumable sessions, if they are turned on.
    sessions: Option<SessionService>,
    events: EventForwarding,
}

impl TestHost {
    pub(super) fn new(
        application: Arc<dyn Application>,
        layer: Arc<dyn ChannelLayer>,
        resume: Option<Resume>,
    ) -> Self {
        let connections = Connections::default();
        let mut layers = vec![layer.clone()];
        layers.extend(application.own_layers());
        let events = connections.set_layers(layers);
        let settings = ConnectionSettings::from(layer);
        let sessions = resume.clone().map(|resume| {
            SessionService::new(SessionParts {
                resume,
                application: application.clone(),
                settings: settings.clone(),
                connections: connections.clone(),
                accepts_in_outage: true,
            })
            .expect("the system has randomness once it runs programs")
        });
        Self(Arc::new(SharedHost { application, settings, connections, resume, sessions, events }))
    }

    /// Returns a host of the same application over another layer.
    pub(super) fn with_layer(&self, layer: Arc<dyn ChannelLayer>) -> Self {
        Self::new(self.0.application.clone(), layer, self.0.resume.clone())
    }

    /// Returns a host of the same application and layer, with resumable sessions.
    pub(super) fn with_resume(&self, resume: Resume) -> Self {
        Self::new(self.0.application.clone(), self.layer().clone(), Some(resume))
    }

    pub(super) fn layer(&self) -> &Arc<dyn ChannelLayer> {
        self.0.settings.layer()
    }

    /// Whether WebSockets carry resumable sessions.
    pub(super) fn resumes(&self) -> bool {
        self.0.sessions.is_some()
    }

    /// Opens a connection.
    pub(super) fn open(&self, scope: Scope) -> ApplicationCommunicator {
        let SharedHost { application, connections, sessions, events, .. } = &*self.0;
        events.start(connections);
        let settings = application.settings_at(&scope, self.0.settings.clone());
        let layer = connections.layer_number(settings.layer());
        let wire = match sessions.clone().filter(|_| scope.protocol == Protocol::WebSocket) {
            Some(sessions) => Context::open_with(resume::CARRIER, scope, settings, |context| {
                resume::carry(sessions, Socket::from_context(context))
            }),
            None => Context::open_with(Profile { layer, ..Profile::CLIENT }, scope, settings, |context| {
                application.call(context)
            }),
        };
        let registration = connections.register(wire.connection());
        ApplicationCommunicator::from_wire(wire, registration)
    }
}
