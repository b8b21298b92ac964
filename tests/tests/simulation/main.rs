//! The server on a simulated network: hosts, virtual TCP and a clock that tests move, with partitions, held
//! packets and crashes at moments that a seed chooses.
//!
//! `CHANNELS_SEED=17 cargo test -p channels-tests --test simulation` runs one seed again; `CHANNELS_LONG=1` runs many.

mod client;
mod faults;
mod oracle;
mod server;

use std::{cell::RefCell, env, rc::Rc, sync::Mutex, thread, time::Duration};

use fastrand::Rng;
use turmoil::Builder;

use self::{faults::Faults, oracle::Log, server::Defect};

/// Members of two rooms.
const CLIENTS: usize = 5;
/// The time in which faults happen.
const TROUBLE: Duration = Duration::from_secs(20);
/// The time after the last fault in which all clients reconnect: the server notices a dead client within 4 s, a client a dead
/// server within 6 s, and reconnects within 2 s.
const HEAL: Duration = Duration::from_secs(12);
/// The time without faults.
const PEACE: Duration = Duration::from_secs(3);

/// The limit for the time until all clients have left.
const END: Duration = Duration::from_secs(15);

/// The result of a seed.
fn simulate(seed: u64, defect: Defect) -> Result<Log, String> {
    fastrand::seed(seed); // the server's own dice, on this thread
    let mut random = Rng::with_seed(seed);
    let log = Rc::new(RefCell::new(Log::default()));
    let server = server::Server::new(defect);
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(20))
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(random.u64(1..100)))
        .tcp_capacity(10_000)
        .build();
    let service = server.service.clone();
    sim.host("server", move || server::run(service.clone()));
    for id in 0..CLIENTS {
        let (log, seed) = (log.clone(), random.u64(..));
        sim.host(client::name(id), move || client::run(id, seed, log.clone()));
    }
    let mut faults = Faults::new(random);
    let step = |sim: &mut turmoil::Sim<'_>| sim.step().map(drop).map_err(|error| error.to_string());
    while sim.elapsed() < TROUBLE {
        faults.maybe(&mut sim);
        step(&mut sim)?;
    }
    faults.heal(&mut sim);
    let talk = sim.elapsed() + HEAL;
    while sim.elapsed() < talk + PEACE {
        step(&mut sim)?;
    }
    log.borrow_mut().stop = true;
    let end = sim.elapsed() + END;
    while sim.elapsed() < end && !server.service.connections().is_empty() {
        step(&mut sim)?;
    }
    drop(sim);
    let log = Rc::try_unwrap(log).map(RefCell::into_inner).map_err(|_| "a client is left".to_owned())?;
    log.check(talk)?;
    server.check()?;
    Ok(log)
}

fn seeds() -> Vec<u64> {
    if let Ok(seed) = env::var("CHANNELS_SEED") {
        return vec![seed.parse().expect("CHANNELS_SEED is a number")];
    }
    (0..if env::var_os("CHANNELS_LONG").is_some() { 1000 } else { 50 }).collect()
}

#[test]
fn every_seed_keeps_the_promises() {
    let (seeds, sum) = (seeds(), Mutex::new(Log::default()));
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    thread::scope(|scope| {
        for seeds in seeds.chunks(seeds.len().div_ceil(threads)) {
            let sum = &sum;
            scope.spawn(move || {
                for seed in seeds {
                    let log = passes(*seed);
                    sum.lock().expect("no fault under it").add(&log);
                }
            });
        }
    });
    let sum = sum.into_inner().expect("no fault under it");
    println!("{} seeds: {sum:?}", seeds.len());
    assert!(sum.connections > seeds.len() * CLIENTS, "nobody ever came back: there were no faults");
}

fn passes(seed: u64) -> Log {
    let again = format!("CHANNELS_SEED={seed} cargo test -p channels-tests --test simulation");
    simulate(seed, Defect::None).unwrap_or_else(|fault| panic!("{fault}\nrun it again: {again}"))
}

#[test]
fn every_defect_is_found() {
    for (defect, sign) in [
        (Defect::SaysTwice, "twice"),
        (Defect::Swaps, "order"),
        (Defect::TellsAll, "another room"),
        (Defect::GoesDeaf, "hears nothing"),
        (Defect::LosesHalf, "hears nothing"),
        (Defect::ForgetsDisconnect, "disconnect"),
        (Defect::StaysInTheGroup, "is left"),
    ] {
        let mut found = (0..10).filter_map(|seed| simulate(seed, defect).err());
        assert!(found.any(|fault| fault.contains(sign)), "{defect:?} was not found");
    }
}

/// Asserts that a seed determines the whole run.
#[test]
fn seeds_are_deterministic() {
    let story = |seed| simulate(seed, Defect::None).expect("it passes").story();
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}
