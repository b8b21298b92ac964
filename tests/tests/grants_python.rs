//! Grants signed in Python, by the code that the documentation shows.

use std::path::Path;

use channels_tests::Program;
use tokio::process::Command;
use ws_consumer::middleware::{GrantError, GrantKeys};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The Python code in the documentation of [`GrantKeys`].
fn documented() -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ws-consumer/src/middleware/grant.rs");
    let source = std::fs::read_to_string(source).expect("the source file is there");
    let lines = source.lines().map(|line| line.strip_prefix("///").unwrap_or_default());
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let code: Vec<_> =
        lines.skip_while(|line| *line != "```python").skip(1).take_while(|line| *line != "```").collect();
    assert!(!code.is_empty(), "the documentation holds Python code");
    code.join("\n")
}

/// Returns what the documented function gives for these arguments.
async fn signed(arguments: &str) -> String {
    let source = documented();
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
    assert_eq!(keys.verify(&of_user, Some("bob")), Err(GrantError::OtherUser));
}

#[tokio::test]
async fn python_grant_expires() {
    let keys = GrantKeys::new("b", SECRET);
    let ended = signed(&format!("'room_7', -1, 'b', b'{SECRET}'")).await;
    assert_eq!(keys.verify(&ended, None), Err(GrantError::Expired));
    let other = signed(&format!("'room_7', 60, 'b', b'{}'", SECRET.replace('0', "1"))).await;
    assert_eq!(keys.verify(&other, None), Err(GrantError::Forged));
    let unknown = signed(&format!("'room_7', 60, 'c', b'{SECRET}'")).await;
    assert_eq!(keys.verify(&unknown, None), Err(GrantError::UnknownKey));
}
