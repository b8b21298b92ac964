//! TLS with a certificate authority of one's own.
#![cfg(feature = "tls")]

mod support;

use std::{fs, path::Path};

use channel_layer::{ChannelLayerExt, Error};
use channel_layer_redis::{RedisConfig, RedisLayer};
use rcgen::{CertificateParams, Issuer, KeyPair};
use support::{
    next, number, numbered,
    server::{Server, free_port},
};

/// Writes a server's certificate and key, and returns the authority's certificate.
fn certify(dir: &Path) -> String {
    let authority_key = KeyPair::generate().expect("it can be made");
    let mut authority = CertificateParams::new(Vec::new()).expect("it can be made");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("it can be made").pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("it can be made");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("it can be made");
    let certificate = server.signed_by(&key, &issuer).expect("it can be made");
    fs::write(dir.join("server.pem"), certificate.pem()).expect("it can be made");
    fs::write(dir.join("server.key"), key.serialize_pem()).expect("it can be made");
    fs::write(dir.join("root.pem"), &root).expect("it can be made");
    root
}

#[tokio::test]
async fn messages_pass_over_tls_and_only_with_the_right_authority_and_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = certify(dir.path());
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let port = free_port();
    let _server = Server::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("root.pem"),
        "--tls-auth-clients",
        "no",
    ]);
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
