//! All sessions of a service: how they begin, how a client resumes one, and how a request finds its own.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use bytes::Bytes;
use channel_layer::Causes;
use http::{HeaderMap, StatusCode};
use tokio::{
    sync::OnceCell,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    admission::{ADMISSION, AdmittedClient, admit},
    attachment::Attachment,
    carrier::{Carrier, CarrierRegistration},
    config::{LostSession, Resume, Settings},
    credentials::AdmittedCredentials,
    exchange::{Requester, exchange},
    forward::{self, ForwardReply, ForwardRequest, Forwarder},
    ndjson,
    protocol::{ControlObject, Gap, RequestMode},
    registry::Registry,
    request,
    session::{Session, SessionRegistry},
    task::SessionTask,
    token::{ProcessId, SessionId, SessionToken},
};
use crate::{
    application::Application,
    connections::Connections,
    error::Result as HookResult,
    frame::Close,
    limits::Limits,
    scope::Scope,
    settings::ConnectionSettings,
    socket::Context,
    sync::lock,
    transport::EndLog,
    wire::{Profile, Refuse, Wire},
};

/// The longest time for which the end of a session is remembered.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// The profile of a session. Its log numbers every frame and every gap.
const SESSION: Profile =
    Profile { buffers_input: true, reports_gaps: true, shares_frames: true, ..Profile::CLIENT };

/// The sessions of a service. Clones are the same.
#[derive(Clone)]
pub(crate) struct SessionService(Arc<SharedSessions>);

struct SharedSessions {
    settings: Arc<Settings>,
    application: Arc<dyn Application>,
    /// The settings of sessions without [options](crate::ConnectionOptions).
    connection: ConnectionSettings,
    connections: Connections,
    /// Whether sessions may begin while the layer has lost its backend.
    accepts_in_outage: bool,
    registry: Arc<SessionRegistry>,
    /// Locked for a look-up.
    credentials: Mutex<AdmittedCredentials>,
    forwarder: Arc<Forwarder>,
    /// Answers the requests of other processes, from the first session on.
    listener: OnceCell<AbortOnDropHandle<()>>,
}

/// The parts of a [`SessionService`].
pub(crate) struct SessionParts {
    pub(crate) resume: Resume,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) settings: ConnectionSettings,
    pub(crate) connections: Connections,
    pub(crate) accepts_in_outage: bool,
}

/// A session that has begun, with its first carrier.
pub(super) struct StartedSession {
    pub(super) session: Arc<Session>,
    pub(super) attachment: Attachment,
    /// Headers for the answer.
    pub(super) headers: HeaderMap,
}

/// A streaming carrier that has begun, of a new session or a resumed one.
pub(super) struct StartedCarrier {
    pub(super) carrier: Carrier,
    /// The control object that begins it.
    pub(super) control: ControlObject,
    pub(super) token: SessionToken,
    /// Headers for the answer.
    pub(super) headers: HeaderMap,
}

/// The place of a session.
pub(super) enum SessionLocation {
    /// In no process: unknown, ended or evicted.
    Gone,
    Local(Arc<Session>),
    /// In another process, unless it is gone.
    Remote,
}

impl SessionService {
    pub(crate) fn new(parts: SessionParts) -> HookResult<Self> {
        let SessionParts { resume, application, settings: connection, connections, accepts_in_outage } =
            parts;
        let settings = Settings::new(ProcessId::new()?, resume, connection.shared_limits().clone());
        Ok(Self(Arc::new(SharedSessions {
            registry: Arc::new(Registry::new(&settings.resume)),
            forwarder: Arc::new(Forwarder::new(connection.layer().clone(), &settings.resume)),
            settings: Arc::new(settings),
            application,
            connection,
            connections,
            accepts_in_outage,
            credentials: Mutex::default(),
            listener: OnceCell::new(),
        })))
    }

    /// The settings of a connection that this request opens.
    fn connection_at(&self, scope: &Scope) -> ConnectionSettings {
        self.0.application.settings_at(scope, self.0.connection.clone())
    }

    /// The settings of a session that this request begins, or belongs to.
    pub(super) fn settings_at(&self, scope: &Scope) -> Arc<Settings> {
        self.settings_with(self.connection_at(scope).shared_limits())
    }

    fn settings_with(&self, limits: &Arc<Limits>) -> Arc<Settings> {
        let settings = &self.0.settings;
        if Arc::ptr_eq(&settings.limits, limits) {
            return settings.clone();
        }
        Arc::new(Settings::new(settings.process, settings.resume.clone(), limits.clone()))
    }

    pub(super) fn registry(&self) -> &Arc<SessionRegistry> {
        &self.0.registry
    }

    /// Whether the service is shutting down.
    pub(super) fn is_closing(&self) -> bool {
        self.0.connections.is_closing()
    }

    pub(crate) fn claims(&self, scope: &Scope) -> bool {
        self.0.application.claims(scope)
    }

    // ---- beginning

    /// Begins a session, if the application accepts its client.
    pub(super) async fn open(&self, scope: Scope) -> Result<StartedSession, Refuse> {
        let SharedSessions { connections, registry, accepts_in_outage, .. } = &*self.0;
        let connection = self.connection_at(&scope);
        let settings = self.settings_with(connection.shared_limits());
        if connections.is_cut_off(connection.layer()) && !accepts_in_outage {
            return Err(Refuse::unavailable());
        }
        self.listen().await;
        let digest = self.credentials().digest(&scope.headers);
        let (transport, path) = (scope.transport, scope.uri.path().into());
        let (address, weight) = (request::address(&scope), scope.weight());
        let shared = registry.shared(address);
        let log = EndLog::begin(&scope);
        let wire = self.start(scope, connection, SESSION, log);
        let session =
            Session::new(settings.clone(), wire.connection().clone(), path, registry, shared.clone());
        let session = Arc::new(session.map_err(|_| Refuse::unavailable())?);
        let registration = connections.register(wire.connection()).ok_or_else(Refuse::unavailable)?;
        if !registry.enter(&session, address, weight, shared.address) {
            return Err(Refuse::unavailable());
        }
        let guard = OpeningGuard { session: Some(session.clone()) };
        let task = SessionTask::new(session.clone(), wire, registration);
        connections.spawn(self.clone().run(session.clone(), task));
        let decision = timeout(settings.limits.accept_timeout, poll_fn(|cx| session.poll_decision(cx))).await;
        let Ok(decision) = decision else {
            tracing::warn!("no decision about a client in time");
            return Err(Refuse::unavailable());
        };
        let accept = decision?;
        let attachment = session.begin(transport, accept.subprotocol);
        guard.disarm();
        self.remember(session.id, digest);
        Ok(StartedSession { session, attachment, headers: accept.headers })
    }

    /// Begins a session and a streaming carrier. `lost` is the cursor of a session that is gone.
    pub(super) async fn begin(&self, mut scope: Scope, lost: Option<u64>) -> Result<StartedCarrier, Refuse> {
        LostSession::mark(&mut scope, lost);
        let StartedSession { session, attachment, headers } = self.open(scope).await?;
        let control = ControlObject { gap: lost.map(Gap::after), ..attachment.control(&session, false) };
        let carrier = Carrier::Local { session, number: attachment.carrier };
        Ok(StartedCarrier { carrier, control, token: attachment.token, headers })
    }

    /// Begins a streaming carrier of a session that the client resumes, or of a new one if that is gone.
    pub(super) async fn resume(
        &self,
        scope: Scope,
        token: SessionToken,
        cursor: u64,
    ) -> Result<StartedCarrier, Refuse> {
        let transport = scope.transport;
        let client = self.admit(scope.clone()).await?;
        let resumed = match self.locate(token, Some(scope.uri.path())) {
            SessionLocation::Local(session) => {
                let attachment = session.resume(token.secret, client.user.as_deref(), cursor, transport);
                let attachment = attachment.map_err(|_| Refuse::unavailable())?;
                attachment.map(|attachment| {
                    let control = attachment.control(&session, true);
                    let carrier = Carrier::Local { session, number: attachment.carrier };
                    (carrier, control, attachment.token)
                })
            }
            SessionLocation::Remote => self.resume_remote(token, cursor, client.user, &scope).await?,
            SessionLocation::Gone => None,
        };
        let Some((carrier, control, token)) = resumed else {
            return self.begin(scope, Some(cursor)).await;
        };
        self.remember_client(token.session, &scope.headers);
        Ok(StartedCarrier { carrier, control, token, headers: client.headers })
    }

    async fn resume_remote(
        &self,
        token: SessionToken,
        cursor: u64,
        user: Option<Arc<str>>,
        scope: &Scope,
    ) -> Result<Option<(Carrier, ControlObject, SessionToken)>, Refuse> {
        let control = ControlObject {
            token: Some(token.text()),
            cursor: Some(cursor),
            mode: Some(RequestMode::Send),
            resume: Some(true),
            ..ControlObject::default()
        };
        let request = ForwardRequest {
            body: ndjson::write(&control, &[]).into(),
            user: Some(user),
            path: Some(scope.uri.path().into()),
            transport: scope.transport,
            relayed: true,
        };
        let reply = self.forward(token.process, request, false).await?;
        let resumed = reply.filter(|reply| reply.status == 200).and_then(|reply| {
            let control = ndjson::parse(&reply.body, ndjson::UNLIMITED).ok()?.control;
            let open = control.open.as_ref()?;
            let token = SessionToken::parse(&open.token)?;
            let forwarder = self.0.forwarder.clone();
            Some((Carrier::remote(forwarder, token, scope.transport, open.cursor), control, token))
        });
        Ok(resumed)
    }

    /// Asks the guards whether a client may resume.
    pub(super) async fn admit(&self, scope: Scope) -> Result<AdmittedClient, Refuse> {
        let settings = self.connection_at(&scope);
        let limit = settings.limits().accept_timeout;
        admit(self.start(scope, settings, ADMISSION, EndLog::default()), limit).await
    }

    fn start(&self, scope: Scope, settings: ConnectionSettings, profile: Profile, log: EndLog) -> Wire {
        let SharedSessions { application, connections, .. } = &*self.0;
        let layer = connections.layer_number(settings.layer());
        Context::open_with(Profile { layer, ..profile }, scope, settings, |context| {
            context.set_reports(connections.reports());
            log.call(&**application, context)
        })
    }

    // ---- finding

    /// Finds a session. `path` is that of the request, unless it was checked before.
    pub(super) fn locate(&self, token: SessionToken, path: Option<&str>) -> SessionLocation {
        if token.process != self.0.settings.process {
            return SessionLocation::Remote;
        }
        let session = self.registry().find(token.session);
        let local = session.filter(|session| path.is_none_or(|path| session.is_at(path)));
        local.map_or(SessionLocation::Gone, SessionLocation::Local)
    }

    /// Whether a request has the credentials with which the session's client was admitted.
    pub(super) fn is_admitted(&self, session: SessionId, headers: &HeaderMap) -> bool {
        self.credentials().is(session, headers)
    }

    /// Whether a request has the credentials with which any session's client was admitted.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        self.credentials().knows(headers)
    }

    /// Remembers the credentials with which a session's client was admitted.
    pub(super) fn remember_client(&self, session: SessionId, headers: &HeaderMap) {
        let digest = self.credentials().digest(headers);
        self.remember(session, digest);
    }

    fn remember(&self, session: SessionId, digest: u64) {
        let registry = self.registry();
        let local = registry.len();
        self.credentials().remember(session, digest, local, |id| registry.has(id));
    }

    // ---- other processes

    /// Registers a carrier, or a request, of another process's session. `None` once the service is closing.
    pub(super) fn register_carrier(&self) -> Option<CarrierRegistration> {
        CarrierRegistration::new(&self.0.connections)
    }

    /// Forwards a request, and returns `None` if the process is gone. `waits`: the reply may take as long as a long poll.
    pub(super) async fn forward(
        &self,
        process: ProcessId,
        request: ForwardRequest,
        waits: bool,
    ) -> Result<Option<ForwardReply>, Refuse> {
        // After an error the session may still be there, and its client tries again.
        self.0.forwarder.forward(process, request, waits).await.map_err(|_| Refuse::unavailable())
    }

    /// Answers a request that another process has forwarded.
    async fn answer_forwarded(&self, request: ForwardRequest) -> ForwardReply {
        let ForwardRequest { body, user, path, transport, relayed } = request;
        let answered = async {
            // Of a client, within the limits that the other process checked.
            let batch = ndjson::parse(&body, ndjson::UNLIMITED).ok()?;
            let token = batch.control.token.as_deref().and_then(SessionToken::parse)?;
            let SessionLocation::Local(session) = self.locate(token, path.as_deref()) else { return None };
            let requester = Requester { user, transport, relayed };
            exchange(&session, token, &batch.control, batch.frames, requester).await
        };
        match answered.await {
            Some(reply) => ForwardReply { status: reply.status.as_u16(), body: reply.body().into() },
            None => ForwardReply { status: StatusCode::GONE.as_u16(), body: Bytes::new() },
        }
    }

    /// Starts to answer the requests of other processes.
    async fn listen(&self) {
        let SharedSessions { connection, listener, settings, .. } = &*self.0;
        let layer = connection.layer();
        let (process, sessions) = (settings.process, settings.resume.max_sessions);
        let begin = async || {
            let mailbox = forward::listen(&**layer, process).await?;
            let (layer, service) = (layer.clone(), Arc::downgrade(&self.0));
            let answer = move |request: ForwardRequest| {
                let service = Self(Weak::upgrade(&service)?);
                Some(async move { service.answer_forwarded(request).await })
            };
            let serving = forward::serve(layer, mailbox, sessions, answer);
            Ok::<_, channel_layer::Error>(AbortOnDropHandle::new(tokio::spawn(serving)))
        };
        if let Err(error) = listener.get_or_try_init(begin).await
            && self.0.connections.reports().due("listening").is_some()
        {
            tracing::warn!(error = %Causes(&error), "sessions of this process cannot be reached from others");
        }
    }

    // ---- ending

    /// Runs a session, and forgets it some time after its end, which its client has yet to learn.
    async fn run(self, session: Arc<Session>, task: SessionTask) {
        let (id, service) = (session.id, Arc::downgrade(&self.0));
        let remembered = self.0.settings.resume.ttl.min(AFTERWARDS);
        drop(self); // sessions do not keep the service alive
        task.await;
        let remembered = if session.is_forgettable() { Duration::ZERO } else { remembered };
        drop(session);
        // Not among the tasks of connections, which a shutdown waits for.
        tokio::spawn(async move {
            sleep(remembered).await;
            if let Some(shared) = service.upgrade() {
                Self(shared).forget(id);
            }
        });
    }

    fn forget(&self, id: SessionId) {
        self.registry().forget(id);
        self.credentials().forget(id);
    }

    fn credentials(&self) -> MutexGuard<'_, AdmittedCredentials> {
        lock(&self.0.credentials)
    }
}

/// Ends a session whose client leaves before it was accepted.
struct OpeningGuard {
    session: Option<Arc<Session>>,
}

impl OpeningGuard {
    fn disarm(mut self) {
        self.session = None;
    }
}

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.finish(Close::ABNORMAL.into());
        }
    }
}
