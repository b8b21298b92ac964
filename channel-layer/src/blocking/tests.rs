use futures_util::FutureExt;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinHandle, LocalSet, block_in_place, spawn, spawn_blocking, spawn_local, unconstrained},
};

use super::*;
use crate::{config::LayerConfig, memory::MemoryLayer};

const SOON: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::from_millis(30);

fn started() -> BlockingLayer {
    BlockingLayer::start(async || Ok(MemoryLayer::default())).unwrap()
}

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn jobs() -> ChannelName {
    "jobs".parse().unwrap()
}

#[test]
fn threads_send_and_receive() {
    let layer = started();
    let (lobby, mut mailbox) = (GroupName::new("lobby").unwrap(), layer.open("specific").unwrap());
    layer.group_add(&lobby, mailbox.channel()).unwrap();
    let sender = layer.clone();
    let sent = thread::spawn(move || sender.group_send(lobby, Message::new("hello"))).join().unwrap();
    assert_eq!(sent.unwrap().local.delivered, 1);
    assert_eq!(layer.next(&mut mailbox, SOON).unwrap(), Some(Message::new("hello")));
    assert_eq!(layer.next(&mut mailbox, AT_ONCE).unwrap(), None);
}

#[test]
fn waiting_threads_are_woken() {
    let layer = started();
    let mut mailbox = layer.open("specific").unwrap();
    let (to, sender) = (mailbox.channel().clone(), layer.clone());
    let answerer = thread::spawn({
        let layer = layer.clone();
        move || {
            let request = layer.receive(&jobs(), SOON).unwrap().unwrap();
            let back = request.get("reply_channel").unwrap().as_str().unwrap().parse().unwrap();
            layer.send(&back, Message::new("answer")).unwrap();
            sender.send(&to, Message::new("done")).unwrap();
        }
    });
    assert_eq!(layer.request(&jobs(), Message::new("ask"), SOON).unwrap(), Message::new("answer"));
    assert_eq!(layer.next(&mut mailbox, SOON).unwrap(), Some(Message::new("done")));
    answerer.join().unwrap();
}

/// A program that reads a command line, as `main` would call it.
fn command(layer: &BlockingLayer, arguments: &[&str]) -> Result<String> {
    match arguments {
        ["send", channel, text] => {
            layer.send(&channel.parse()?, Message::new("line").with("text", *text))?;
            Ok("sent".to_owned())
        }
        ["receive", channel] => {
            let message = layer.receive(&channel.parse()?, AT_ONCE)?;
            let text = message.as_ref().and_then(|message| message.get("text")?.as_str());
            Ok(text.unwrap_or("nothing").to_owned())
        }
        _ => Err(Error::Unsupported("this command")),
    }
}

#[test]
fn a_command_line_works() {
    let layer = BlockingLayer::connect(Registry::default(), "memory://?capacity=1").unwrap();
    let run = |line: &str| command(&layer, &line.split(' ').collect::<Vec<_>>());
    assert_eq!(run("send jobs one").unwrap(), "sent");
    assert!(matches!(run("send jobs two"), Err(Error::ChannelFull { .. })));
    assert_eq!(run("receive jobs").unwrap(), "one");
    assert_eq!(run("receive jobs").unwrap(), "nothing");
    assert!(matches!(run("send !! two"), Err(Error::InvalidName(_))));
    layer.close().unwrap();
    assert!(matches!(run("send jobs three"), Err(Error::Closed)));
    assert!(BlockingLayer::connect(Registry::default(), "nowhere://").is_err());
}

#[test]
fn tasks_are_refused() {
    let layer = started();
    let mut mailbox = layer.open("specific").unwrap();
    let mut try_all = || {
        let refused = [
            layer.send(&jobs(), Message::new("a")).err(),
            layer.receive(&jobs(), SOON).err(),
            layer.next(&mut mailbox, SOON).err(),
            layer.request(&jobs(), Message::new("a"), SOON).err(),
            layer.close().err(),
            BlockingLayer::connect(Registry::default(), "memory://").err(),
        ];
        assert!(refused.iter().all(|error| matches!(error, Some(Error::InsideRuntime))), "{refused:?}");
    };
    single().block_on(async { try_all() });
    workers().block_on(async { try_all() });
    assert!(layer.receive(&jobs(), AT_ONCE).unwrap().is_none(), "nothing was sent");
}

/// A place of a call, on a runtime. Returns whether the call was refused.
type Place = fn(&Runtime, BlockingLayer) -> bool;

fn is_refused(layer: &BlockingLayer) -> bool {
    match layer.send(&jobs(), Message::new("a")) {
        Ok(()) => false,
        Err(Error::InsideRuntime) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Each place, and whether its calls are refused on a runtime of one thread, and on one of workers.
const PLACES: [(&str, Place, bool, bool); 11] = [
    ("a plain thread", |_, layer| is_refused(&layer), false, false),
    ("a thread that entered", |runtime, layer| (runtime.enter(), is_refused(&layer)).1, false, false),
    (
        "spawn_blocking",
        |runtime, layer| join(runtime, || spawn_blocking(move || is_refused(&layer))),
        false,
        false,
    ),
    ("a task", |runtime, layer| join(runtime, || spawn(async move { is_refused(&layer) })), true, true),
    (
        "an unconstrained task",
        |runtime, layer| join(runtime, || spawn(unconstrained(async move { is_refused(&layer) }))),
        true,
        true,
    ),
    ("block_on", |runtime, layer| runtime.block_on(async { is_refused(&layer) }), true, true),
    (
        "an unconstrained block_on",
        |runtime, layer| runtime.block_on(unconstrained(async { is_refused(&layer) })),
        true,
        false,
    ),
    (
        "the future of a LocalSet",
        |runtime, layer| LocalSet::new().block_on(runtime, async { is_refused(&layer) }),
        true,
        true,
    ),
    (
        "a task of a LocalSet",
        |runtime, layer| {
            let task = async { spawn_local(async move { is_refused(&layer) }).await.unwrap() };
            LocalSet::new().block_on(runtime, task)
        },
        true,
        true,
    ),
    (
        "another executor in a task",
        |runtime, layer| {
            join(runtime, || spawn(async move { async { is_refused(&layer) }.now_or_never().unwrap() }))
        },
        true,
        true,
    ),
    (
        "a thread of a task",
        |runtime, layer| {
            let call = move || thread::spawn(move || is_refused(&layer)).join().unwrap();
            join(runtime, || spawn(async move { call() }))
        },
        false,
        false,
    ),
];

fn join(runtime: &Runtime, start: impl FnOnce() -> JoinHandle<bool>) -> bool {
    runtime.block_on(async { start().await.expect("no panic") })
}

#[test]
fn calls_are_refused_by_their_place() {
    let layer = started();
    for (name, place, in_single, in_workers) in PLACES {
        assert_eq!(place(&single(), layer.clone()), in_single, "{name}, on one thread");
        assert_eq!(place(&workers(), layer.clone()), in_workers, "{name}, on workers");
    }
    let runtime = workers();
    let is_refused = join(&runtime, || spawn(async move { block_in_place(|| is_refused(&layer)) }));
    assert!(!is_refused, "block_in_place");
}

#[test]
fn blocking_tasks_may_call_their_runtime() {
    for runtime in [single(), workers()] {
        let layer = BlockingLayer::new(MemoryLayer::default(), runtime.handle().clone());
        assert!(!join(&runtime, || spawn_blocking(move || is_refused(&layer))));
    }
}

#[test]
fn refusals_leave_the_task_running() {
    let layer = started();
    for runtime in [single(), workers()] {
        let layer = layer.clone();
        let task = async move {
            for _ in 0..300 {
                assert!(is_refused(&layer));
                tokio::time::sleep(Duration::ZERO).await;
            }
        };
        runtime.block_on(async { spawn(task).await.unwrap() });
    }
}

#[test]
fn idle_runtimes_time_out() {
    let idle = single();
    let layer = BlockingLayer::new(MemoryLayer::default(), idle.handle().clone()).with_timeout(AT_ONCE);
    assert!(matches!(layer.send(&jobs(), Message::new("a")), Err(Error::TimedOut(AT_ONCE))));
    let left = idle.block_on(async { tokio::time::timeout(AT_ONCE, layer.layer().receive(&jobs())).await });
    assert!(left.is_err(), "a call whose time is over is not made later");
}

#[test]
fn ended_runtimes_are_reported() {
    for runtime in [single(), workers()] {
        let layer = BlockingLayer::new(MemoryLayer::default(), runtime.handle().clone());
        drop(runtime);
        assert!(matches!(layer.send(&jobs(), Message::new("a")), Err(Error::Unavailable(_))));
    }
    let runtime = workers();
    let layer = BlockingLayer::new(MemoryLayer::default(), runtime.handle().clone());
    let waits = thread::spawn(move || layer.receive(&jobs(), SOON));
    thread::sleep(AT_ONCE);
    runtime.shutdown_background();
    assert!(matches!(waits.join().unwrap(), Err(Error::Interrupted(_) | Error::Unavailable(_))));
}

#[test]
fn deadlines_lose_no_message() {
    const COUNT: i64 = 300;
    let config = LayerConfig::default().with_capacity(1000);
    let layer = BlockingLayer::start(async || Ok(MemoryLayer::new(config))).unwrap();
    let sender = layer.clone();
    let send = move |n| sender.send(&jobs(), Message::new("job").with("n", n)).unwrap();
    let sends = thread::spawn(move || (0..COUNT).for_each(send));
    let (mut received, began) = (Vec::new(), Instant::now());
    for attempt in 0.. {
        // Around the time that a call takes, so that some end at the moment in which a message comes.
        let within = Duration::from_micros(attempt % 100);
        let message = layer.receive(&jobs(), within).unwrap();
        received.extend(message.and_then(|message| message.get("n")?.as_i64()));
        if received.len() as i64 == COUNT || began.elapsed() > SOON {
            break;
        }
    }
    sends.join().unwrap();
    assert!(received.into_iter().eq(0..COUNT));
}

#[test]
fn panics_are_reported() {
    let layer = started();
    let outcome: Result<()> = layer.call(async |_| panic!("in a backend"));
    assert!(matches!(outcome, Err(Error::Interrupted(_))));
    layer.send(&jobs(), Message::new("a")).unwrap();
}
