//! All sessions of a service: how they begin, and how a request finds its own.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use channel_layer::{Causes, ChannelLayer};
use http::HeaderMap;
use tokio::{
    sync::OnceCell,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    address,
    admission::{Screened, screen},
    admitted::Admitted,
    carrier::{Carriage, Leg},
    config::Resume,
    forward::{self, Reply, Request},
    ndjson,
    profiles::{ADMISSION, SESSION},
    protocol::{Control, Lost, Mode, Open},
    registry::Registry,
    state::{Continued, Decision, Session, Terms},
    task::Task,
    token::{ProcessId, SessionId, Token},
};
use crate::{
    application::Application,
    connections::Connections,
    error::Result as HookResult,
    frame::Close,
    limits::Limits,
    scope::{Scope, Transport},
    socket::Socket,
    wire::{OutputLimits, Profile, Refuse, Wire},
};

/// For how long the end of a session is remembered, at the most.
const AFTERWARDS: Duration = Duration::from_secs(30);

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Inner>);

struct Inner {
    terms: Arc<Terms>,
    application: Arc<dyn Application>,
    layer: Arc<dyn ChannelLayer>,
    output: Arc<OutputLimits>,
    connections: Connections,
    /// Whether sessions may begin while the layer has lost its backend.
    accepts_in_outage: bool,
    registry: Arc<Registry>,
    /// Locked for a look-up.
    admitted: Mutex<Admitted>,
    listening: OnceCell<AbortOnDrop>,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Of what it is made.
pub(crate) struct Parts {
    pub(crate) resume: Resume,
    pub(crate) limits: Arc<Limits>,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) layer: Arc<dyn ChannelLayer>,
    pub(crate) output: Arc<OutputLimits>,
    pub(crate) connections: Connections,
    pub(crate) accepts_in_outage: bool,
}

/// A leg that streams begins.
pub(super) struct Begun {
    pub(super) leg: Leg,
    pub(super) control: Control,
    pub(super) token: Token,
    /// For the answer.
    pub(super) headers: HeaderMap,
}

/// A session begins.
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    pub(super) continued: Continued,
    /// For the answer.
    pub(super) headers: HeaderMap,
}

impl Directory {
    pub(crate) fn new(parts: Parts) -> HookResult<Self> {
        let Parts { mut resume, limits, application, layer, output, connections, accepts_in_outage } = parts;
        // A client that polls is heard of by its polls.
        resume.window = resume.window.min(limits.ping_interval);
        let process = ProcessId::new()?;
        let inner = Inner {
            registry: Arc::new(Registry::new(&resume)),
            terms: Arc::new(Terms { process, resume, limits }),
            application,
            layer,
            output,
            connections,
            accepts_in_outage,
            admitted: Mutex::default(),
            listening: OnceCell::new(),
        };
        Ok(Self(Arc::new(inner)))
    }

    pub(super) fn terms(&self) -> &Arc<Terms> {
        &self.0.terms
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    pub(super) fn process(&self) -> ProcessId {
        self.0.terms.process
    }

    /// Is this process about to go away?
    pub(super) fn is_closing(&self) -> bool {
        self.0.connections.is_closing()
    }

    pub(crate) fn claims(&self, scope: &Scope) -> bool {
        self.0.application.claims(scope)
    }

    // ---- beginning

    /// A new session, if the application lets its client in.
    pub(super) async fn open(&self, scope: Scope) -> Result<Opened, Refuse> {
        let Inner { terms, connections, registry, accepts_in_outage, .. } = &*self.0;
        if connections.is_cut_off() && !accepts_in_outage {
            return Err(unavailable());
        }
        self.listen().await;
        let admitted = self.admitted().digest(&scope.headers);
        let (transport, path) = (scope.transport, scope.uri.path().into());
        let (address, weight) = (address(&scope), scope.weight());
        let shared = registry.shared(address);
        let wire = self.start(scope, SESSION);
        let session = Session::new(terms.clone(), wire.link().clone(), path, registry, shared.clone());
        let session = Arc::new(session.map_err(|_| unavailable())?);
        let registration = connections.register(wire.link()).ok_or_else(unavailable)?;
        if !registry.enter(&session, address, weight, shared.address) {
            return Err(unavailable());
        }
        let opening = Opening { session: Some(session.clone()) };
        let task = Task::new(session.clone(), wire, registration);
        connections.spawn(self.clone().run(session.clone(), task));
        let decided = timeout(terms.limits.accept_timeout, poll_fn(|cx| session.poll_decision(cx))).await;
        let accept = match decided {
            Ok(Decision::Accept(accept)) => accept,
            Ok(Decision::Refuse(refuse)) => return Err(refuse),
            Err(_) => {
                tracing::warn!("no decision about a client in time");
                return Err(unavailable());
            }
        };
        let continued = session.begin(transport, accept.subprotocol);
        opening.done();
        self.remember(session.id, admitted);
        Ok(Opened { session, continued, headers: accept.headers })
    }

    /// As [`open`](Self::open), for a leg that streams; `lost` is the cursor of a session that is gone.
    pub(super) async fn begin(&self, mut scope: Scope, lost: Option<u64>) -> Result<Begun, Refuse> {
        scope.lost_session = lost.is_some();
        let Opened { session, continued, headers } = self.open(scope).await?;
        let control = Control { gap: lost.map(gone), ..self.opened(&continued, false) };
        let leg = Leg::Here { session, number: continued.leg };
        Ok(Begun { leg, control, token: continued.token, headers })
    }

    /// A leg that streams, of a session that goes on, or of a new one if that is gone.
    pub(super) async fn resume(&self, scope: Scope, token: Token, cursor: u64) -> Result<Begun, Refuse> {
        let transport = scope.transport;
        let screened = self.screen(scope.clone()).await?;
        let begun = match self.find(token, Some(scope.uri.path())) {
            Found::Here(session) => {
                let resumed = session.resume(token.secret, screened.user.as_deref(), cursor, transport);
                let resumed = resumed.map_err(|_| unavailable())?;
                resumed.map(|continued| {
                    let control = Control { gap: continued.gap, ..self.opened(&continued, true) };
                    (Leg::Here { session, number: continued.leg }, control, continued.token)
                })
            }
            Found::Elsewhere => self.resume_elsewhere(token, cursor, screened.user, &scope).await?,
            Found::Nowhere => None,
        };
        let Some((leg, control, token)) = begun else {
            return self.begin(scope, Some(cursor)).await;
        };
        self.remember_client(token.session, &scope.headers);
        Ok(Begun { leg, control, token, headers: screened.headers })
    }

    async fn resume_elsewhere(
        &self,
        token: Token,
        cursor: u64,
        user: Option<Arc<str>>,
        scope: &Scope,
    ) -> Result<Option<(Leg, Control, Token)>, Refuse> {
        let control = Control {
            token: Some(token.text()),
            cursor: Some(cursor),
            mode: Some(Mode::Send),
            resume: Some(true),
            ..Control::default()
        };
        let request = Request {
            body: ndjson::write(&control, &[]).into(),
            user: Some(user),
            path: Some(scope.uri.path().into()),
            transport: scope.transport,
            relayed: true,
        };
        let answer = self.forward(token.process, request, false).await?;
        let resumed = answer.filter(|answer| answer.status == 200).and_then(|answer| {
            let control = ndjson::parse(&answer.body, ndjson::ANY).ok()?.control;
            let open = control.open.as_ref()?;
            let token = Token::parse(&open.token)?;
            Some((Leg::there(self.clone(), token, scope.transport, open.cursor), control, token))
        });
        Ok(resumed)
    }

    /// May this client have a new leg?
    pub(super) async fn screen(&self, mut scope: Scope) -> Result<Screened, Refuse> {
        scope.resumes = true;
        let limit = self.0.terms.limits.accept_timeout;
        screen(self.start(scope, ADMISSION), limit).await
    }

    fn start(&self, scope: Scope, profile: Profile) -> Wire {
        let Inner { layer, application, output, connections, .. } = &*self.0;
        Socket::open_with(profile, scope, layer.clone(), |mut socket| {
            socket.set_output_limits(output.clone());
            socket.set_reports(connections.reports());
            application.call(socket)
        })
    }

    // ---- finding

    /// `path`: where it is asked for, unless that was looked at before.
    pub(super) fn find(&self, token: Token, path: Option<&str>) -> Found {
        if token.process != self.process() {
            return Found::Elsewhere;
        }
        let session = self.registry().find(token.session);
        let here = session.filter(|session| path.is_none_or(|path| session.is_at(path)));
        here.map_or(Found::Nowhere, Found::Here)
    }

    /// Does it show what its session's client was let in with?
    pub(super) fn is_admitted(&self, session: SessionId, headers: &HeaderMap) -> bool {
        self.admitted().is(session, headers)
    }

    /// Returns whether a request shows what some session's client was let in with.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        self.admitted().knows(headers)
    }

    pub(super) fn remember_client(&self, session: SessionId, headers: &HeaderMap) {
        let digest = self.admitted().digest(headers);
        self.remember(session, digest);
    }

    fn remember(&self, session: SessionId, digest: u64) {
        let registry = self.registry();
        let own = registry.len();
        self.admitted().remember(session, digest, own, |id| registry.has(id));
    }

    // ---- other processes

    /// Asks the process that has this session, for a leg that is here.
    pub(super) async fn ask(&self, token: Token, transport: Transport, body: Vec<u8>) -> Option<Reply> {
        let request = Request { body: body.into(), user: None, path: None, transport, relayed: true };
        self.forward(token.process, request, true).await.ok()?
    }

    /// For a leg, or a request, of another process's session. Nothing once this process goes away.
    pub(super) fn carriage(&self) -> Option<Carriage> {
        Carriage::new(&self.0.connections)
    }

    /// `waits`: the answer may take as long as a long poll does.
    pub(super) async fn forward(
        &self,
        process: ProcessId,
        request: Request,
        waits: bool,
    ) -> Result<Option<Reply>, Refuse> {
        let Resume { window, reach, .. } = self.0.terms.resume;
        let patience = if waits { window + reach } else { reach };
        // A session that cannot be asked for is not over: its client comes again.
        forward::ask(&*self.0.layer, process, request, patience).await.map_err(|_| unavailable())
    }

    /// Hears other processes from the first session on.
    async fn listen(&self) {
        let Inner { layer, listening, terms, .. } = &*self.0;
        let (process, sessions) = (self.process(), terms.resume.max_sessions);
        let begin = async || {
            let mailbox = forward::listen(&**layer, process).await?;
            let (layer, directory) = (layer.clone(), Arc::downgrade(&self.0));
            let answer = move |request: Request| {
                let directory = Directory(Weak::upgrade(&directory)?);
                Some(async move { directory.answer_elsewhere(request).await })
            };
            Ok::<_, channel_layer::Error>(AbortOnDrop(tokio::spawn(forward::serve(
                layer, mailbox, sessions, answer,
            ))))
        };
        if let Err(error) = listening.get_or_try_init(begin).await
            && self.0.connections.reports().due("listening").is_some()
        {
            tracing::warn!(error = %Causes(&error), "sessions of this process cannot be reached from others");
        }
    }

    // ---- keeping

    /// Runs a session, and forgets it a while after its end: its client is yet to hear of it.
    async fn run(self, session: Arc<Session>, task: Task) {
        let (id, directory) = (session.id, Arc::downgrade(&self.0));
        let remembered = self.0.terms.resume.resume_ttl.min(AFTERWARDS);
        drop(self); // or the service would live as long as its sessions
        task.await;
        let remembered = if session.was_left() { Duration::ZERO } else { remembered };
        drop(session);
        // Beside the tasks of connections, which a shutdown waits for.
        tokio::spawn(async move {
            sleep(remembered).await;
            if let Some(inner) = directory.upgrade() {
                Directory(inner).forget(id);
            }
        });
    }

    fn forget(&self, id: SessionId) {
        self.registry().forget(id);
        self.admitted().forget(id);
    }

    pub(super) fn opened(&self, continued: &Continued, resumed: bool) -> Control {
        let Terms { resume, limits, .. } = &*self.0.terms;
        let open = Open {
            token: continued.token.text(),
            resumed,
            cursor: continued.cursor,
            ack: continued.ack,
            ttl: resume.resume_ttl.as_secs_f64(),
            heartbeat: limits.ping_interval.as_secs_f64(),
            protocol: continued.protocol.clone(),
        };
        Control { open: Some(open), ..Control::default() }
    }

    fn admitted(&self) -> MutexGuard<'_, Admitted> {
        self.0.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a session is.
pub(super) enum Found {
    Here(Arc<Session>),
    /// In another process, if anywhere.
    Elsewhere,
    Nowhere,
}

/// A client that leaves before it was let in leaves nothing behind.
struct Opening {
    session: Option<Arc<Session>>,
}

impl Opening {
    fn done(mut self) {
        self.session = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.finish(Close::ABNORMAL.into());
        }
    }
}

/// All of a session is lost, after what the client has.
pub(super) fn gone(cursor: u64) -> Lost {
    Lost { from: cursor.saturating_add(1), to: None }
}

pub(super) fn unavailable() -> Refuse {
    Refuse::unavailable()
}
