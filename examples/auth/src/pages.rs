//! Login, logout, and the page of users who are logged in.

use std::{convert::Infallible, pin::Pin, sync::Arc, task::Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tower::Service;
use ws_consumer::{
    Result,
    middleware::{login, logout, user},
};

use crate::users::{User, Users};

const HTML: &str = "text/html; charset=utf-8";
/// Bytes of a form: a name and a password.
const FORM: usize = 4096;
/// Only scripts, styles and connections of this server are allowed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Serves the plain HTTP requests.
#[derive(Clone)]
pub(crate) struct Pages {
    users: Users,
}

impl Pages {
    pub(crate) fn new(users: Users) -> Self {
        Self { users }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let who = user::<User>(request.extensions()).map(|user| user.name.clone());
        Ok(match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => match who {
                Some(name) => home(&name),
                None => redirect("/login"),
            },
            (&Method::GET, "/login") => page(HTML, login_page("")),
            (&Method::POST, "/login") => self.log_in(request).await?,
            (&Method::POST, "/logout") => {
                logout(request.extensions()).await?;
                redirect("/login")
            }
            (&Method::GET, "/static/style.css") => {
                page("text/css; charset=utf-8", include_str!("../page/style.css").into())
            }
            (&Method::GET, "/static/inbox.js") => {
                page("text/javascript; charset=utf-8", include_str!("../page/inbox.js").into())
            }
            _ => with_status(StatusCode::NOT_FOUND, String::new()),
        })
    }

    async fn log_in(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, FORM).collect().await else {
            return Ok(with_status(StatusCode::PAYLOAD_TOO_LARGE, String::new()));
        };
        let body = body.to_bytes();
        let field = |name| form_urlencoded::parse(&body).find(|(key, _)| key == name).map(|(_, value)| value);
        let (name, password) = (field("username").unwrap_or_default(), field("password").unwrap_or_default());
        let Some(user) = self.users.check(&name, &password) else {
            let problem = "This name and password do not go together.";
            return Ok(with_status(StatusCode::UNAUTHORIZED, login_page(problem)));
        };
        login(&parts.extensions, Arc::new(user)).await?;
        Ok(redirect("/"))
    }
}

impl Service<Request<Incoming>> for Pages {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let pages = self.clone();
        Box::pin(async move {
            Ok(pages.answer(request).await.unwrap_or_else(|error| {
                tracing::error!(%error, "a page failed");
                with_status(StatusCode::INTERNAL_SERVER_ERROR, String::new())
            }))
        })
    }
}

fn login_page(problem: &'static str) -> String {
    include_str!("../page/login.html").replace("{problem}", problem)
}

/// The name is one of the users', so it needs no escaping.
fn home(name: &str) -> Response<Full<Bytes>> {
    page(HTML, include_str!("../page/inbox.html").replace("{name}", name))
}

fn redirect(to: &'static str) -> Response<Full<Bytes>> {
    let mut response = with_status(StatusCode::SEE_OTHER, String::new());
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response
}

fn with_status(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = page(HTML, body);
    *response.status_mut() = status;
    response
}

fn page(kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // After a logout, the browser's back button must not show the page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
