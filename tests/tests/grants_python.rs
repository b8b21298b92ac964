//! Grants signed in Python, by the lines that the documentation shows.

use std::path::Path;

use channels_tests::Program;
use tokio::process::Command;
use ws_consumer::middleware::{GrantKeys, NoGrant};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Returns the documented function's result for these arguments.
async fn signed(arguments: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ws-consumer/src/middleware/grant.py");
    let source = std::fs::read_to_string(source).expect("the documented lines are there");
    let mut command = Command::new("python3");
    command.args(["-I", "-c", &format!("{source}\nprint(grant({arguments}))")]);
    let (status, program) = Program::run(command).await;
    assert!(status.success(), "{}", program.stderr());
    program.stdout().trim().to_owned()
}

#[tokio::test]
async fn python_grant_opens_the_group() {
    let keys = GrantKeys::new("b", SECRET).and("a", SECRET.to_uppercase());
    let grant = signed(&format!("'room_7', 60, 'b', b'{SECRET}'")).await;
    assert_eq!(keys.verify(&grant, None).expect("a grant").as_str(), "room_7");
    let of_user = signed(&format!("'room_7', 60, 'b', b'{SECRET}', 'ann 汉'")).await;
    assert!(keys.verify(&of_user, Some("ann 汉")).is_ok());
    assert_eq!(keys.verify(&of_user, Some("bob")), Err(NoGrant::OtherUser));
}

#[tokio::test]
async fn python_grant_expires() {
    let keys = GrantKeys::new("b", SECRET);
    let ended = signed(&format!("'room_7', -1, 'b', b'{SECRET}'")).await;
    assert_eq!(keys.verify(&ended, None), Err(NoGrant::Expired));
    let other = signed(&format!("'room_7', 60, 'b', b'{}'", SECRET.replace('0', "1"))).await;
    assert_eq!(keys.verify(&other, None), Err(NoGrant::Forged));
    let unknown = signed(&format!("'room_7', 60, 'c', b'{SECRET}'")).await;
    assert_eq!(keys.verify(&unknown, None), Err(NoGrant::UnknownKey));
}
