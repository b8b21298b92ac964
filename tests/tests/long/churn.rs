//! Minutes of clients that connect and leave.

use channels_tests::{Ending, Lane, Member, Server, may_open, open_files, resident, within};
use tokio::task::JoinSet;

const ROUNDS: usize = 500;
const VISITORS: usize = 50;

#[tokio::test]
async fn churn_disturbs_no_steady_member() {
    for lane in [Lane::Handler, Lane::Frame] {
        churn(lane).await;
    }
}

async fn churn(lane: Lane) {
    let server = Server::chat(lane).await;
    let mut steady = Member::join(&server, "lobby").await;
    let before = open_files(&server.program);
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
    // The sockets of the last clients are closed by the server's tasks, which take a moment.
    let closed = async {
        while open_files(&server.program) > before {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("the visitors' sockets to be closed", closed).await;
    assert_eq!(steady.leave().await, Ending::Closed(1000));
}

// A third of the clients leave with a close frame, the others drop the connection.
async fn visit(mut visitor: Member, text: String, politely: bool) {
    visitor.say(&text).await;
    while visitor.hear().await != text {}
    if politely {
        assert_eq!(visitor.leave().await, Ending::Closed(1000));
    }
}

/// The growth of a server's memory that is allowed between the first tenth of the clients and the last.
const GROWTH: usize = 5 << 20;
const VISITS: usize = 100_000;

#[tokio::test]
async fn connection_churn_leaks_nothing() {
    may_open();
    let server = Server::chat(Lane::Handler).await;
    let before = open_files(&server.program);
    visits(&server, VISITS / 10).await;
    let early = resident(&server.program);
    visits(&server, VISITS - VISITS / 10).await;
    let closed = async {
        while open_files(&server.program) > before {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("the visitors' sockets to be closed", closed).await;
    let late = resident(&server.program);
    println!("{early} bytes after {}, {late} after {VISITS}", VISITS / 10);
    assert!(late <= early + GROWTH, "{early} bytes have become {late}");
}

async fn visits(server: &Server, count: usize) {
    let mut visitors = JoinSet::new();
    for number in 0..count {
        if visitors.len() == VISITORS {
            visitors.join_next().await.expect("there are some").expect("no visitor panics");
        }
        // From many addresses: one alone would run out of ports.
        let member =
            Member::join_from(server, [127, 0, 1, (number % 200) as u8 + 1], &format!("{}", number % 50))
                .await;
        visitors.spawn(visit(member, number.to_string(), !number.is_multiple_of(3)));
    }
    within("the visitors", visitors.join_all()).await;
}
