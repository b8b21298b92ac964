//! A shutdown of a server with many clients.

use channels_tests::{Ending, Lane, Member, Server, Signal, may_open, within};
use tokio::{task::JoinSet, time::Instant};

const ROOMS: usize = 20;
const MEMBERS: usize = 2_000;
const MESSAGES: usize = 5;

#[tokio::test]
async fn sigterm_drains_two_thousand_members() {
    assert!(may_open() > MEMBERS + 100, "this test needs {MEMBERS} descriptors: raise `ulimit -Hn`");
    for lane in [Lane::Handler, Lane::Frame] {
        deploy(lane).await;
    }
}

async fn deploy(lane: Lane) {
    let mut server = Server::chat(lane).await;
    let mut members = join_all(&server).await;
    // The first member of each room sends, and has received its message: so the server has it for all members.
    for (room, speaker) in members.iter_mut().enumerate().take(ROOMS) {
        for number in 0..MESSAGES {
            speaker.say(&format!("{room} {number}")).await;
        }
        for number in 0..MESSAGES {
            assert_eq!(speaker.hear().await, format!("{room} {number}"));
        }
    }
    let told = Instant::now();
    server.program.signal(Signal::TERM);
    let mut listening = JoinSet::new();
    for (number, member) in members.into_iter().enumerate() {
        let heard = if number < ROOMS { MESSAGES } else { 0 };
        listening.spawn(listen(member, number % ROOMS, heard));
    }
    within("the members", listening.join_all()).await;
    let status = server.program.wait().await;
    assert_eq!(status.code(), Some(0), "{status}");
    println!("{MEMBERS} members and the server were gone within {:?}", told.elapsed());
    assert!(!server.program.stderr().contains("left in time"), "{}", server.program.stderr());
}

/// The member with number `n` is in the room `n % ROOMS`.
async fn join_all(server: &Server) -> Vec<Member> {
    let mut members = Vec::with_capacity(MEMBERS);
    for number in 0..MEMBERS {
        members.push(Member::join(server, &(number % ROOMS).to_string()).await);
    }
    members
}

async fn listen(mut member: Member, room: usize, heard: usize) {
    for number in heard..MESSAGES {
        assert_eq!(member.hear().await, format!("{room} {number}"));
    }
    let ending = within("a close", member.ending()).await;
    assert!(matches!(ending, Ending::Closed(1001 | 1012)), "{ending:?}");
}
