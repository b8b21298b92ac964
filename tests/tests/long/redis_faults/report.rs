//! The outcome for the members and their messages.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::member::{Log, Noticed};

/// The limit for recovery.
const PATIENCE: Duration = Duration::from_secs(12);

/// The outcome of a fault.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The time from the fault's end until each member received a message sent after it from either process, if ever.
    pub(crate) live: Option<Duration>,
    pub(crate) said: usize,
    pub(crate) heard: usize,
    /// Pairs of a message and a member of its room that never received it.
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) disordered: usize,
    pub(crate) closed: usize,
    pub(crate) codes: Vec<u16>,
    /// Members that got a notice of a gap, and those that got an error.
    pub(crate) noticed: usize,
    pub(crate) erred: usize,
    /// Pairs that were lost without a notice or an error on either side.
    pub(crate) silent: usize,
    /// An error as members receive it.
    pub(crate) example: Option<String>,
}

impl Report {
    pub(crate) fn new(log: &Log, room_of: impl Fn(usize) -> usize, live: Option<Duration>) -> Self {
        let members = log.take();
        let mut report = Self { live, ..Self::default() };
        let mut rooms: HashMap<usize, Vec<usize>> = HashMap::new();
        for id in 0..members.len() {
            rooms.entry(room_of(id)).or_default().push(id);
        }
        let (mut noticed, mut erred) = (HashSet::new(), HashSet::new());
        let mut said = vec![Vec::new(); members.len()];
        let mut heard: Vec<HashSet<(usize, u64)>> = vec![HashSet::new(); members.len()];
        for (id, events) in members.iter().enumerate() {
            let mut last: HashMap<usize, u64> = HashMap::new();
            for (_, event) in events {
                match event {
                    Noticed::Said(number) => said[id].push(*number),
                    Noticed::Heard { speaker, number } => {
                        report.heard += 1;
                        if !heard[id].insert((*speaker, *number)) {
                            report.doubled += 1;
                        } else if last.insert(*speaker, *number).is_some_and(|before| before > *number) {
                            report.disordered += 1;
                        }
                    }
                    Noticed::Notice => drop(noticed.insert(id)),
                    Noticed::Error(text) => {
                        erred.insert(id);
                        report.example.get_or_insert_with(|| text.clone());
                    }
                    Noticed::Closed(code) => {
                        report.closed += 1;
                        report.codes.extend(code);
                    }
                    Noticed::Opened | Noticed::Refused => {}
                }
            }
        }
        for (speaker, numbers) in said.iter().enumerate() {
            report.said += numbers.len();
            for listener in &rooms[&room_of(speaker)] {
                let missed =
                    numbers.iter().filter(|number| !heard[*listener].contains(&(speaker, **number))).count();
                report.lost += missed;
                if !noticed.contains(listener) && !erred.contains(&speaker) {
                    report.silent += missed;
                }
            }
        }
        (report.noticed, report.erred) = (noticed.len(), erred.len());
        report
    }

    /// Returns the violations of the acceptance criteria; empty if they are met.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.closed > 0 {
            faults.push(format!("{} closed, {:?}", self.closed, counted(&self.codes)));
        }
        for (count, what) in [
            (self.silent, "lost without a word"),
            (self.doubled, "doubled"),
            (self.disordered, "out of order"),
        ] {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        }
        match self.live {
            Some(live) if live <= LIVE => {}
            Some(live) => faults.push(format!("live after {:.1} s only", live.as_secs_f64())),
            None => faults.push("never live again".to_owned()),
        }
        faults
    }
}

/// The limit for the time until all members receive all messages again.
const LIVE: Duration = Duration::from_secs(2);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.live.map_or("never".to_owned(), |live| format!("{:.2} s", live.as_secs_f64()));
        let Self { said, lost, closed, noticed, erred, doubled, disordered, .. } = self;
        write!(f, "{live} | {said} | {lost} | {noticed} | {erred} | {closed} | {doubled} | {disordered}")
    }
}

fn counted(codes: &[u16]) -> HashMap<u16, usize> {
    codes.iter().fold(HashMap::new(), |mut counts, code| {
        *counts.entry(*code).or_default() += 1;
        counts
    })
}

/// Waits until all members receive all messages again, and returns the time since then. `None` if that takes too long.
pub(crate) async fn live_since(log: &Log, since: Instant) -> Option<Duration> {
    let wait = async {
        loop {
            sleep(Duration::from_millis(20)).await;
            if let Some(at) = all_live(log, since) {
                return at - since;
            }
        }
    };
    timeout(PATIENCE, wait).await.ok()
}

/// Returns the time at which the last member had received a message sent after `since` from each process, or
/// `None` while one has not.
fn all_live(log: &Log, since: Instant) -> Option<Instant> {
    log.look(|members| {
        let said_at: HashMap<(usize, u64), Instant> = members
            .iter()
            .enumerate()
            .flat_map(|(id, events)| {
                events.iter().filter_map(move |(at, event)| match event {
                    Noticed::Said(number) if *at > since => Some(((id, *number), *at)),
                    _ => None,
                })
            })
            .collect();
        let mut latest = since;
        for events in members {
            for process in [0, 1] {
                let first = events.iter().find(|(at, event)| match event {
                    Noticed::Heard { speaker, number } => {
                        *at > since && speaker % 2 == process && said_at.contains_key(&(*speaker, *number))
                    }
                    _ => false,
                });
                latest = latest.max(first?.0);
            }
        }
        Some(latest)
    })
}
