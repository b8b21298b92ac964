//! The server's part in a test: it opens connections for an application, and forwards the layer's events.

use std::sync::{Arc, Mutex, OnceLock};

use channel_layer::{ChannelLayer, LayerEvents};
use tokio_util::task::AbortOnDropHandle;

use super::ApplicationCommunicator;
use crate::{
    application::Application,
    connections::Connections,
    limits::Limits,
    resume::{self, Resume, SessionParts, SessionService},
    scope::{Protocol, Scope},
    socket::{Context, Socket},
    sync::lock,
};

/// The application and the layer that the clients of one test share. Clones are the same.
#[derive(Clone)]
pub(super) struct TestHost(Arc<SharedHost>);

struct SharedHost {
    application: Arc<dyn Application>,
    layer: Arc<dyn ChannelLayer>,
    connections: Connections,
    resume: Option<Resume>,
    /// Resumable sessions, if they are turned on.
    sessions: Option<SessionService>,
    /// The layer's events from the beginning, until a task forwards them. Locked once.
    events: Mutex<Option<LayerEvents>>,
    forwarding: OnceLock<AbortOnDropHandle<()>>,
}

impl TestHost {
    pub(super) fn new(
        application: Arc<dyn Application>,
        layer: Arc<dyn ChannelLayer>,
        resume: Option<Resume>,
    ) -> Self {
        let connections = Connections::default();
        let limits = Limits::default();
        let sessions = resume.clone().map(|resume| {
            SessionService::new(SessionParts {
                resume,
                output: Arc::new(limits.output.clone()),
                limits: Arc::new(limits),
                application: application.clone(),
                layer: layer.clone(),
                connections: connections.clone(),
                accepts_in_outage: true,
            })
            .expect("the system has randomness once it runs programs")
        });
        let events = Mutex::new(Some(layer.events()));
        Self(Arc::new(SharedHost {
            application,
            layer,
            connections,
            resume,
            sessions,
            events,
            forwarding: OnceLock::new(),
        }))
    }

    /// Returns a host of the same application over another layer.
    pub(super) fn with_layer(&self, layer: Arc<dyn ChannelLayer>) -> Self {
        Self::new(self.0.application.clone(), layer, self.0.resume.clone())
    }

    /// Returns a host of the same application and layer, with resumable sessions.
    pub(super) fn with_resume(&self, resume: Resume) -> Self {
        Self::new(self.0.application.clone(), self.0.layer.clone(), Some(resume))
    }

    pub(super) fn layer(&self) -> &Arc<dyn ChannelLayer> {
        &self.0.layer
    }

    /// Whether WebSockets carry resumable sessions.
    pub(super) fn resumes(&self) -> bool {
        self.0.sessions.is_some()
    }

    /// Opens a connection.
    pub(super) fn open(&self, scope: Scope) -> ApplicationCommunicator {
        let SharedHost { application, layer, connections, sessions, .. } = &*self.0;
        self.forward_events();
        let wire = match sessions.clone().filter(|_| scope.protocol == Protocol::WebSocket) {
            Some(sessions) => Context::open_with(resume::CARRIER, scope, layer.clone(), |context| {
                resume::carry(sessions, Socket::from_context(context))
            }),
            None => Context::open(scope, layer.clone(), |context| application.call(context)),
        };
        let registration = connections.register(wire.connection());
        ApplicationCommunicator::from_wire(wire, registration)
    }

    /// Starts forwarding the layer's events to the connections, unless it has begun.
    fn forward_events(&self) {
        self.0.forwarding.get_or_init(|| {
            let mut events = lock(&self.0.events).take().unwrap_or_else(LayerEvents::none);
            let connections = self.0.connections.clone();
            AbortOnDropHandle::new(tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    connections.notify(event);
                }
            }))
        });
    }
}
