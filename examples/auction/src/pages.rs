//! The application on axum: pages, logins, and the list of lots.

use std::sync::Arc;

use axum::{
    Form, Json, Router,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use channel_layer::ChannelLayer;
use http::{Extensions, StatusCode, header};
use serde::Deserialize;
use ws_consumer::{
    Result,
    client::ClientFiles,
    extract::CurrentUser,
    middleware::{Authenticator, Identity, Proof, Token, login, logout},
};

use crate::house::{HouseEvent, Lot, ask};

/// Only scripts, styles and connections of this server are allowed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const NAMES: [&str; 3] = ["ann", "bob", "eve"];

/// A user, known by name.
pub(crate) struct Bidder(pub(crate) String);

impl Identity for Bidder {
    fn id(&self) -> String {
        self.0.clone()
    }
}

/// The users: in production a table, with passwords hashed by argon2.
#[derive(Clone, Copy)]
pub(crate) struct Bidders;

impl Authenticator for Bidders {
    type User = Bidder;

    async fn by_id(&self, id: &str) -> Result<Option<Proof<Bidder>>> {
        Ok(NAMES.contains(&id).then(|| Proof::new(Bidder(id.to_owned()))))
    }
}

/// The pages that are alike for all, and their files.
const FILES: [(&str, &str, &str); 6] = [
    ("/", "text/html", include_str!("../page/index.html")),
    ("/lots/{id}", "text/html", include_str!("../page/lot.html")),
    ("/static/style.css", "text/css", include_str!("../page/style.css")),
    ("/static/index.js", "text/javascript", include_str!("../page/index.js")),
    ("/static/lot.js", "text/javascript", include_str!("../page/lot.js")),
    ("/static/shared.js", "text/javascript", include_str!("../page/shared.js")),
];

/// The routes. The guards in front identify the user.
pub(crate) fn pages(layer: Arc<dyn ChannelLayer>) -> Router {
    let files = FILES.into_iter().fold(Router::new(), |router, (path, kind, body)| {
        router.route(path, get(async move || file(kind, body)))
    });
    files
        .route("/login", get(async || login_page(StatusCode::OK, "")).post(log_in))
        .route("/logout", post(async |ext: Extensions| logout(&ext).await.map(|()| Redirect::to("/"))))
        .route("/api/lots", get(lots))
        .route("/api/me", get(async |user: Option<CurrentUser<Bidder>>| Json(user.map(|user| user.0.id()))))
        .nest_service(ClientFiles::PATH, ClientFiles::new())
        .with_state(layer)
}

async fn lots(State(layer): State<Arc<dyn ChannelLayer>>) -> Result<Json<Vec<Lot>>> {
    Ok(Json(ask(&layer, &HouseEvent::Lots).await?))
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

async fn log_in(extensions: Extensions, Form(form): Form<Credentials>) -> Result<Response> {
    let is_right = Token::new(form.password).is(format!("{}-secret", form.username));
    if !is_right || !NAMES.contains(&form.username.as_str()) {
        return Ok(login_page(StatusCode::UNAUTHORIZED, "This name and password do not go together."));
    }
    login(&extensions, Arc::new(Bidder(form.username))).await?;
    Ok(Redirect::to("/").into_response())
}

fn login_page(status: StatusCode, problem: &'static str) -> Response {
    let page = include_str!("../page/login.html").replace("{problem}", problem);
    (status, file("text/html", page)).into_response()
}

fn file(kind: &'static str, body: impl Into<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // After a logout, the browser's back button must not show the page.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body.into()).into_response()
}
