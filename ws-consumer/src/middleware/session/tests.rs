use http::Request;

use super::*;

type Admitted = (Scope, Vec<crate::wire::AnswerHook>);

async fn admit(sessions: &Sessions<MemoryStore>, cookie: Option<&str>) -> Admitted {
    let mut request = Request::get("/");
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let mut request = GuardRequest::from_request(&mut parts);
    sessions.admit(&mut request).await.unwrap();
    let hooks = request.into_hooks();
    (Scope::from_request(&mut Request::from_parts(parts, ())), hooks)
}

fn answer((_, hooks): Admitted) -> Vec<String> {
    let mut headers = HeaderMap::new();
    hooks.into_iter().for_each(|hook| hook(&mut headers));
    headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

async fn start(sessions: &Sessions<MemoryStore>) -> String {
    let first = admit(sessions, None).await;
    first.0.session().unwrap().insert("n", 1).await.unwrap();
    first.0.save_session().await.unwrap();
    answer(first).remove(0).split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn sets_one_cookie() {
    let sessions = Sessions::new(MemoryStore::default());
    let first = admit(&sessions, None).await;
    first.0.session().unwrap().insert("n", 1).await.unwrap();
    sessions.finish(&first.0.extensions, StatusCode::OK).await;
    let set = answer(first);
    assert_eq!(set.len(), 1);
    assert!(set[0].starts_with("channels_session="), "{set:?}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=1209600", "Expires="] {
        assert!(set[0].contains(attribute), "{attribute}: {set:?}");
    }
}

#[tokio::test]
async fn empty_sessions_are_not_kept() {
    let store = MemoryStore::default();
    let sessions = Sessions::new(store.clone());
    let first = admit(&sessions, None).await;
    assert_eq!(first.0.session().unwrap().get::<u8>("n").await.unwrap(), None);
    sessions.finish(&first.0.extensions, StatusCode::OK).await;
    assert_eq!((answer(first).len(), store.len()), (0, 0));
}

#[tokio::test]
async fn clients_cannot_choose_ids() {
    let sessions = Sessions::new(MemoryStore::default()).insecure().same_site(SameSite::Strict).name("s");
    let cookie = start(&sessions).await;
    let (again, _) = admit(&sessions, Some(&cookie)).await;
    assert_eq!(again.session().unwrap().get::<u8>("n").await.unwrap(), Some(1));
    // A well-formed id that the server has never given out.
    let chosen = format!("s={}", Id(42));
    let fixed = admit(&sessions, Some(&chosen)).await;
    fixed.0.session().unwrap().insert("n", 2).await.unwrap();
    fixed.0.save_session().await.unwrap();
    let set = answer(fixed);
    assert!(!set[0].contains(&chosen) && set[0].contains("SameSite=Strict") && !set[0].contains("Secure"));
    for nonsense in ["s=", "s=x", "s=../../etc", "other=1"] {
        assert_eq!(admit(&sessions, Some(nonsense)).await.0.session().unwrap().id(), None);
    }
}

#[tokio::test]
async fn foreign_cookies_hide_no_session() {
    let sessions = Sessions::new(MemoryStore::default()).name("s");
    let ours = start(&sessions).await;
    for foreign in ["s=l2hv0tpx9w0fqk9y3pqv6fzgq5yafq3c", "s=", "s=\"\"", "s=%ff", "s"] {
        for cookies in [format!("{foreign}; {ours}"), format!("{ours}; {foreign}")] {
            let again = admit(&sessions, Some(&cookies)).await;
            assert_eq!(again.0.session().unwrap().get::<u8>("n").await.unwrap(), Some(1), "{cookies}");
            assert!(answer(again).is_empty(), "{cookies}");
        }
    }
}

#[tokio::test]
async fn keeps_djangos_cookie() {
    let django = "sessionid=l2hv0tpx9w0fqk9y3pqv6fzgq5yafq3c";
    let sessions = Sessions::new(MemoryStore::default());
    let idle = admit(&sessions, Some(django)).await;
    assert_eq!(idle.0.session().unwrap().id(), None);
    assert!(answer(idle).is_empty());
    let busy = admit(&sessions, Some(django)).await;
    busy.0.session().unwrap().insert("n", 1).await.unwrap();
    busy.0.save_session().await.unwrap();
    assert!(answer(busy)[0].starts_with("channels_session="));
    let own = Sessions::new(MemoryStore::default()).name("sessionid");
    assert!(start(&own).await.starts_with("sessionid="), "by choice");
}

#[tokio::test]
async fn server_errors_save_nothing() {
    let store = MemoryStore::default();
    let sessions = Sessions::new(store.clone());
    let (scope, _) = admit(&sessions, None).await;
    scope.session().unwrap().insert("n", 1).await.unwrap();
    sessions.finish(&scope.extensions, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!(store.len(), 0);
    sessions.finish(&scope.extensions, StatusCode::NOT_FOUND).await;
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn saving_revives_no_ended_session() {
    let store = MemoryStore::default();
    let sessions = Sessions::new(store.clone());
    let cookie = start(&sessions).await;
    let (socket, _) = admit(&sessions, Some(&cookie)).await;
    socket.session().unwrap().insert("n", 2).await.unwrap();
    let elsewhere = admit(&sessions, Some(&cookie)).await;
    elsewhere.0.session().unwrap().flush().await.unwrap();
    assert!(answer(elsewhere)[0].contains("Max-Age=0"), "the cookie is removed");
    assert!(socket.save_session().await.is_err());
    assert_eq!(store.len(), 0);
}

#[tokio::test]
async fn the_outer_guard_counts() {
    let (outer, inner) = (MemoryStore::default(), MemoryStore::default());
    let sessions = Sessions::new(outer.clone()).and(Sessions::new(inner.clone()));
    let (mut parts, ()) = Request::get("/").body(()).unwrap().into_parts();
    let mut request = GuardRequest::from_request(&mut parts);
    sessions.admit(&mut request).await.unwrap();
    let scope = Scope::from_request(&mut Request::from_parts(parts, ()));
    scope.session().unwrap().insert("n", 1).await.unwrap();
    scope.save_session().await.unwrap();
    assert_eq!((outer.len(), inner.len()), (1, 0));
}

#[tokio::test]
async fn a_session_needs_a_guard() {
    assert!(Scope::default().session().is_err());
    assert!(Scope::default().save_session().await.is_err());
}
