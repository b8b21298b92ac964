//! Texts: names, addresses, origins, routes, grants.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use channel_layer::{ChannelLayer, ChannelName, GroupName, MemoryLayer, registry::Address};
use futures_util::task::noop_waker_ref;
use http::Request;
use ws_consumer::{
    Application, Context, Result, Router, Scope, Socket,
    middleware::{GrantKeys, OriginPattern, OriginRules, TrustedProxies},
};

/// The parts of a text between line feeds.
fn parts<const N: usize>(input: &[u8]) -> Option<[&str; N]> {
    let mut parts = std::str::from_utf8(input).ok()?.splitn(N, '\n');
    Some([(); N].map(|()| parts.next().unwrap_or_default()))
}

/// Names, and the names of any text: `PREFIX\nTEXT`.
pub fn names(input: &[u8]) {
    let Some([prefix, text]) = parts(input) else { return };
    if let Ok(name) = GroupName::new(text) {
        assert!(name.as_str() == text && is_plain(text) && !text.contains('!'));
    }
    if let Ok(name) = ChannelName::new(text) {
        assert!(name.as_str() == text && is_plain(text) && text.starts_with(name.non_local()));
    }
    let Ok(name) = GroupName::encode(prefix, text) else {
        assert!(prefix.len() > 60 || !is_plain(prefix) || prefix.contains('!'), "{prefix:?}");
        return;
    };
    assert!(name.as_str().starts_with(prefix) && is_plain(name.as_str()));
    assert_eq!(GroupName::encode(prefix, text).as_ref(), Ok(&name));
    let other = format!("{text}.");
    assert_ne!(GroupName::encode(prefix, &other), Ok(name), "two texts have one name");
}

/// Whether a text holds no character with a meaning to Redis, a log or a terminal.
fn is_plain(name: &str) -> bool {
    name.len() < 100 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-!".contains(&byte))
}

/// Parses the options of an address.
pub fn addresses(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let address = Address::parse(text);
    let mut options = address.options();
    let _ = options.layer_config();
    let _ = options.take_duration("linger");
    let _ = (options.take_all("host"), options.take::<u8>("db"), options.finish());
    let _ = (address.scheme(), address.base());
}

/// `PATTERN\nORIGIN\nHOST\nNETWORK`
pub fn origins(input: &[u8]) {
    let Some([pattern, origin, host, network]) = parts(input) else { return };
    let parsed = pattern.parse::<OriginPattern>();
    if let Err(error) = &parsed {
        let _ = error.to_string();
    }
    let Ok(listed) = OriginRules::listed().and(pattern) else { return };
    assert!(parsed.is_ok());
    let proxies = TrustedProxies::new([network]).unwrap_or_default();
    let request = Request::get("/").header("origin", origin).header("host", host);
    let request = request.header("x-forwarded-for", host).header("x-forwarded-host", origin);
    let Ok(mut request) = request.body(()) else { return };
    let _ = proxies.client("127.0.0.1:1".parse().ok(), request.headers());
    let scope = Scope::from_request(&mut request);
    let listed = is_let_in(listed, scope.clone());
    assert!(!listed || origin == "null" || is_an_origin(origin), "{pattern:?} lets {origin:?} in");
    let own = is_let_in(OriginRules::same_host().trust(proxies), scope);
    let has_host = || origin.split_once("://").is_some_and(|(_, rest)| !matches!(rest, "" | "/"));
    assert!(!own || (is_an_origin(origin) && has_host()), "{host:?} is taken for the host of {origin:?}");
}

/// Whether a text is `scheme://host[:port]`, or a scheme alone that is not the web's: without path, user or blank.
fn is_an_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let is_web = || ["http", "https", "ws", "wss"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let lacks_host = rest.is_empty() && is_web();
    !lacks_host && !rest.contains(['/', '@', '?', '#', '\\', ' '])
}

fn is_let_in(rules: OriginRules, scope: Scope) -> bool {
    let (told, heard) = std::sync::mpsc::channel();
    let inner = move |_: Socket| {
        let _ = told.send(());
        async { Ok(()) }
    };
    enter(ws_consumer::middleware::OriginCheck::new(rules, inner), scope);
    heard.try_recv().is_ok()
}

fn enter(application: impl Application, scope: Scope) {
    static LAYER: LazyLock<Arc<MemoryLayer>> = LazyLock::new(Arc::default);
    let layer = LAYER.clone() as Arc<dyn ChannelLayer>;
    let mut wire = Context::open(scope, layer, |context| application.call(context));
    let _ = wire.poll(&mut std::task::Context::from_waker(noop_waker_ref()));
}

/// `PATTERN\nPATH\nVALUE`: a pattern, or an expression, and a path; and a path that is made of the pattern.
pub fn routes(input: &[u8]) {
    let Some([pattern, path, value]) = parts(input) else { return };
    let Ok(uri) = path.parse::<http::Uri>() else { return };
    let Ok(mut request) = Request::get(uri).body(()) else { return };
    let scope = Scope::from_request(&mut request);
    // Longer ones are slow to compile, and come from the program, not from clients.
    if pattern.len() <= 64
        && let Ok(router) = Router::new().try_re_path(pattern, nothing)
    {
        let _ = router.claims(&scope);
        enter(router, scope.clone());
    }
    let Ok(router) = Router::new().try_application(pattern, nothing) else { return };
    let router = router.name("it");
    let nested = Router::new().nest("/a", router.clone());
    let _ = (router.claims(&scope), nested.claims(&scope));
    enter(router.clone(), scope.clone());
    enter(nested, scope);
    if let Ok(url) = router.url_for("it", &[("a", value), ("b", value)]) {
        let mut request = Request::get(url.as_str()).body(()).expect("a path that was made is one");
        assert!(
            router.claims(&Scope::from_request(&mut request)),
            "{url:?} does not lead back to {pattern:?}"
        );
    }
}

async fn nothing(socket: Socket) -> Result<()> {
    let scope = socket.scope();
    let _ = scope.params::<(u8, String)>();
    let _ = scope.params::<std::collections::HashMap<String, f64>>();
    let _ = scope.params::<Option<char>>();
    Ok(())
}

/// Forged grants, and a valid one with a byte changed.
pub fn grants(input: &[u8]) {
    let Some([grant, user]) = parts(input) else { return };
    let keys = GrantKeys::new("b", [7; 32]).and("a", [8; 32]);
    assert!(keys.verify(grant, None).is_err() && keys.verify(grant, Some(user)).is_err(), "a forged grant");
    let group = GroupName::encode("room_", grant).expect("any text has a name");
    let ours = keys.sign_for(user, &group, Duration::from_secs(60)).expect("a valid name");
    assert_eq!(keys.verify(&ours, Some(user)).as_ref(), Ok(&group));
    let at = input.len() % ours.len();
    let changed: String = ours
        .char_indices()
        .map(|(n, c)| if n == at { if c == 'x' { 'y' } else { 'x' } } else { c })
        .collect();
    if let Ok(name) = keys.verify(&changed, Some(user)) {
        // The last character of base64 has unused bits.
        assert!(name == group && at + 1 == ours.len(), "{ours} and {changed} are both grants");
    }
}
