//! Minutes of coming and going: run by `tests/run.sh --all`.

use std::fs;

use channels_tests::{Ending, Lane, Member, Server, within};
use tokio::task::JoinSet;

const ROUNDS: usize = 500;
const VISITORS: usize = 50;

#[tokio::test]
async fn a_steady_member_misses_nothing_while_others_come_and_go_and_nothing_is_left_of_them() {
    for lane in [Lane::Handler, Lane::Frame] {
        churn(lane).await;
    }
}

async fn churn(lane: Lane) {
    let server = Server::chat(lane).await;
    let mut steady = Member::join(&server, "lobby").await;
    let before = open_files(&server);
    for round in 0..ROUNDS {
        let mut visitors = JoinSet::new();
        for visitor in 0..VISITORS {
            let member = Member::join(&server, "lobby").await;
            visitors.spawn(visit(member, format!("{round} {visitor}"), visitor % 3 == 0));
        }
        let mut heard: Vec<String> = Vec::new();
        for _ in 0..VISITORS {
            heard.push(steady.hear().await);
        }
        heard.sort();
        let mut expected: Vec<_> = (0..VISITORS).map(|visitor| format!("{round} {visitor}")).collect();
        expected.sort();
        assert_eq!(heard, expected);
        within("the visitors", visitors.join_all()).await;
    }
    // The last visitors' sockets are closed by the server's own tasks, which need a moment.
    let closed = async {
        while open_files(&server) > before {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("the visitors' sockets to be closed", closed).await;
    assert_eq!(steady.leave().await, Ending::Closed(1000));
}

// A third of the visitors leave politely, the others just hang up.
async fn visit(mut visitor: Member, text: String, politely: bool) {
    visitor.say(&text).await;
    while visitor.hear().await != text {}
    if politely {
        assert_eq!(visitor.leave().await, Ending::Closed(1000));
    }
}

fn open_files(server: &Server) -> usize {
    let id = server.program.id().expect("the server still runs");
    fs::read_dir(format!("/proc/{id}/fd")).expect("the files of a child can be listed").count()
}
