//! TLS with a private certificate authority.
#![cfg(feature = "tls")]

mod support;

use std::{fs, path::Path};

use channel_layer::{ChannelLayer, ChannelLayerExt, Error};
#[cfg(feature = "sessions")]
use channel_layer_redis::RedisSessionStore;
use channel_layer_redis::{RedisConfig, RedisLayer};
use rcgen::{CertificateParams, Issuer, KeyPair};
#[cfg(feature = "sessions")]
use support::sessions::{check_session, store};
use support::{
    next, number, numbered,
    sentinel::{SERVICE, Sentinel},
    server::{Server, free_port},
};

/// Writes the certificate and key of a server with the names `localhost` and this one. Returns the authority's certificate.
fn certify(dir: &Path, name: &str) -> String {
    let authority_key = KeyPair::generate().expect("it can be made");
    let mut authority = CertificateParams::new(Vec::new()).expect("it can be made");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // Differs from the name of the signed certificate, which OpenSSL would take for self-signed.
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let root = authority.self_signed(&authority_key).expect("it can be made").pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("it can be made");
    let server =
        CertificateParams::new(vec!["localhost".to_owned(), name.to_owned()]).expect("it can be made");
    let certificate = server.signed_by(&key, &issuer).expect("it can be made");
    fs::write(dir.join("server.pem"), certificate.pem()).expect("it can be made");
    fs::write(dir.join("server.key"), key.serialize_pem()).expect("it can be made");
    fs::write(dir.join("root.pem"), &root).expect("it can be made");
    root
}

/// The settings of a server or sentinel with a second port for TLS.
fn settings(dir: &Path, port: u16) -> Vec<String> {
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let named = [
        ("tls-port", port.to_string()),
        ("tls-cert-file", file("server.pem")),
        ("tls-key-file", file("server.key")),
        ("tls-ca-cert-file", file("root.pem")),
        ("tls-auth-clients", "no".to_owned()),
    ];
    named.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

#[tokio::test]
async fn tls_checks_authority_and_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = certify(dir.path(), "other");
    let port = free_port();
    let mut arguments = settings(dir.path(), port);
    arguments.iter_mut().step_by(2).for_each(|name| *name = format!("--{name}"));
    let _server = Server::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let config: RedisConfig = format!("rediss://localhost:{port}/0").parse().unwrap();
    let refused = RedisLayer::open(config.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    let by_another_name: RedisConfig = format!("rediss://127.0.0.1:{port}/0").parse().unwrap();
    let refused = RedisLayer::open(by_another_name.with_root_certificate(root.as_str())).await.unwrap_err();
    assert!(format!("{refused:?}").contains("not valid for name"), "{refused:?}");
    let layer = RedisLayer::open(config.with_root_certificate(root)).await.unwrap();
    let mut mailbox = layer.new_channel().await.unwrap();
    layer.join("g", mailbox.channel()).await.unwrap();
    assert_eq!(layer.group_send_message("g", numbered(1)).await.unwrap().local.delivered, 1);
    assert_eq!(number(&next(&mut mailbox).await), 1);
}

#[cfg(feature = "sessions")]
#[tokio::test]
async fn sessions_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), "other");
    let port = free_port();
    let mut arguments = settings(dir.path(), port);
    arguments.iter_mut().step_by(2).for_each(|name| *name = format!("--{name}"));
    let _server = Server::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let address = format!("rediss://localhost:{port}/0");
    let refused = RedisSessionStore::connect(&address).await.unwrap_err();
    assert!(format!("{refused:?}").contains("certificate"), "{refused:?}");
    let trusted = format!("{address}?ssl_ca_certs={}", dir.path().join("root.pem").display());
    check_session(&store(&trusted).await).await;
}

/// Both listen only for TLS.
#[tokio::test]
async fn sentinels_and_masters_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), "127.0.0.1"); // the name of the master at the sentinel
    let (master_port, port) = (free_port(), free_port());
    let mut arguments = settings(dir.path(), master_port);
    arguments.iter_mut().step_by(2).for_each(|name| *name = format!("--{name}"));
    let _master = Server::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let lines: Vec<_> = settings(dir.path(), port).chunks(2).map(|line| line.join(" ")).collect();
    let lines = lines.join("\n") + "\ntls-replication yes\n";
    let _sentinel = Sentinel::watching(&[(SERVICE, master_port)], 1, &lines);
    let root = dir.path().join("root.pem");
    let address = format!("rediss+sentinel://localhost:{port}/{SERVICE}/0");
    let unknown = RedisLayer::connect(&address).await.unwrap_err();
    assert!(format!("{unknown:?}").contains("certificate"), "{unknown:?}");
    let layer = RedisLayer::connect(&format!("{address}?ssl_ca_certs={}", root.display())).await.unwrap();
    let mut mailbox = layer.new_channel().await.unwrap();
    layer.join("g", mailbox.channel()).await.unwrap();
    assert_eq!(layer.group_send_message("g", numbered(1)).await.unwrap().local.delivered, 1);
    assert_eq!(number(&next(&mut mailbox).await), 1);
    layer.send(&"jobs".parse().unwrap(), numbered(2)).await.unwrap();
    let job = layer.receive(&"jobs".parse().unwrap()).await.unwrap();
    assert_eq!(number(&job), 2, "the connection for blocking commands goes the same way");
}

#[test]
fn unreadable_certificates_are_errors() {
    let missing = RedisConfig::try_from("rediss://h?ssl_ca_certs=/nowhere/ca.pem").unwrap_err();
    assert!(missing.to_string().contains("cannot be read"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.pem"), "no certificate").unwrap();
    let empty = format!("rediss://h?ssl_ca_certs={}", dir.path().join("ca.pem").display());
    let empty = RedisConfig::try_from(empty.as_str()).unwrap_err();
    assert!(empty.to_string().contains("no certificate"), "{empty}");
    let in_vain = format!("redis://h?ssl_ca_certs={}", dir.path().join("ca.pem").display());
    assert!(RedisConfig::try_from(in_vain.as_str()).is_err(), "certificates without TLS");
}

#[tokio::test]
async fn client_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let root = certify(dir.path(), "other");
    let port = free_port();
    let mut arguments = settings(dir.path(), port);
    arguments.iter_mut().step_by(2).for_each(|name| *name = format!("--{name}"));
    let no = arguments.iter().position(|value| value == "no").unwrap();
    arguments[no] = "yes".to_owned();
    let _server = Server::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let own = format!("ssl_certfile={}&ssl_keyfile={}", file("server.pem"), file("server.key"));
    let trusted = format!("rediss://localhost:{port}?ssl_ca_certs={}", file("root.pem"));
    assert!(RedisLayer::connect(&trusted).await.is_err(), "without a certificate");
    let unverified = format!("rediss://127.0.0.1:{port}?ssl_cert_reqs=none");
    for address in [format!("{trusted}&{own}"), format!("{unverified}&{own}")] {
        RedisLayer::connect(&address).await.unwrap().health().await.unwrap();
    }
    let both =
        fs::read_to_string(file("server.pem")).unwrap() + &fs::read_to_string(file("server.key")).unwrap();
    fs::write(file("both.pem"), both).unwrap();
    let in_one = format!("{trusted}&ssl_certfile={}", file("both.pem"));
    RedisLayer::connect(&in_one).await.unwrap().health().await.unwrap();
    let config: RedisConfig = format!("rediss://localhost:{port}").parse().unwrap();
    let by_hand = config.with_root_certificate(root).with_client_certificate(
        fs::read(file("server.pem")).unwrap(),
        fs::read(file("server.key")).unwrap(),
    );
    assert!(!format!("{by_hand:?}").contains("45, 45, 45"), "no key is shown");
    RedisLayer::open(by_hand).await.unwrap().health().await.unwrap();
    for (options, named) in [
        (format!("ssl_keyfile={}", file("server.key")), "ssl_certfile"),
        (format!("ssl_certfile={}", file("server.pem")), "ssl_keyfile"),
        (format!("ssl_certfile={}", file("server.key")), "ssl_certfile"),
        ("ssl_cert_reqs=maybe".to_owned(), "ssl_cert_reqs"),
        ("ssl_check_hostname=false".to_owned(), "ssl_check_hostname"),
    ] {
        let refused = RedisConfig::try_from(format!("rediss://h?{options}").as_str()).unwrap_err();
        assert!(refused.to_string().contains(named), "{options}: {refused}");
    }
}

#[tokio::test]
async fn resp2_over_tls_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let root = certify(dir.path(), "other");
    let port = free_port();
    let mut arguments = settings(dir.path(), port);
    arguments.iter_mut().step_by(2).for_each(|name| *name = format!("--{name}"));
    arguments.extend(["--rename-command", "HELLO", ""].map(str::to_owned));
    let _server = Server::start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let config: RedisConfig = format!("rediss://localhost:{port}").parse().unwrap();
    let error = RedisLayer::open(config.with_root_certificate(root)).await.unwrap_err();
    assert!(format!("{error:?}").contains("HELLO (RESP3)"), "{error:?}");
}
