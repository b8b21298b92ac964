//! Messages on their way into Redis.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use channel_layer::{
    Audience, ChannelName, Deliveries, Error, Message, Result, Value,
    backbone::{Push, Queues},
};
use futures_util::future::{join_all, try_join_all};

use super::{
    clock::score_before,
    hosts::{Core, Host},
    named::Sets,
    state::Bus,
};
use crate::{
    error::Fault,
    link::{
        Queued,
        client::{Reply, Script},
    },
    stats::Count,
};

static FAN_OUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("fan_out.lua")));

/// Adds a message to a channel of another process, or of workers.
pub(super) async fn push(core: &Core, channel: &ChannelName, message: &Message) -> Result<()> {
    let (bus, at) = (&core.bus, core.bus.host_of(channel));
    let (body, capacity) = (bus.encode(channel, message)?, bus.capacity_of(channel));
    let push = Push { body: &body, capacity, expiry: bus.config.hub.layer.expiry, once: None };
    let pushed = match core.hosts[at].connections() {
        Ok(connections) => Sets { bus: bus.clone(), at, connections }.push(channel, push).await,
        Err(fault) => Err(fault.into()),
    };
    match pushed {
        Ok(_) => bus.counters.one(Count::Published),
        Err(full @ Error::ChannelFull { .. }) => return Err(full),
        Err(error) => {
            bus.counters.one(Count::PublishFailed);
            return Err(error);
        }
    }
    Ok(())
}

/// One message for a process that has members: it names them all.
struct Parcel {
    key: String,
    capacity: String,
    member: Vec<u8>,
    /// The number of members named.
    members: usize,
}

/// Sends to the members of an audience: one message for each process that has any. Says what became of it here.
///
/// Calls look up members at the same time, and their messages are queued in the order in which the calls were begun.
pub(super) async fn fan_out(core: &Core, to: &Audience, message: &Message) -> Result<Deliveries> {
    let Core { bus, hosts, .. } = core;
    // In the first poll: nothing may wait before.
    let turn = bus.turns.enter(to.groups());
    // Only read so far: whatever breaks here, nothing was sent.
    let members = members(core, to).await.map_err(|fault| match fault {
        fault if fault.is_outage() => Error::Unavailable(fault.into()),
        fault => fault.into(),
    })?;
    let matched = members.len();
    let mut parcels: Vec<Vec<Parcel>> = hosts.iter().map(|_| Vec::new()).collect();
    let mut own = Vec::new();
    for members in by_process(members) {
        let parcel = parcel(bus, &members, message)?;
        let host = bus.host_of(&members[0]);
        if bus.is_ours(&members[0]) {
            let count = members.len();
            let back = bus.echoes.add(&parcel.key, &parcel.member, (message.clone(), members));
            own.push((parcel.key.clone(), count, back));
        }
        parcels[host].push(parcel);
    }
    // The limits of a lookup: its turn in the queue, and its way.
    turn.wait(bus.config.hub.timeout * 2).await;
    let puts = hosts.iter().zip(parcels).filter(|(_, parcels)| !parcels.is_empty());
    let puts = join_all(puts.map(|(host, parcels)| Put::queue(bus, host, parcels))).await;
    drop(turn);
    let sent = join_all(puts.into_iter().map(async |put| put?.over(bus).await)).await;
    let over: Vec<_> = sent.iter().flatten().flatten().cloned().collect();
    // Some hosts may have taken their part: then it does not look unsent.
    Fault::of_parts(sent).inspect_err(|_| bus.counters.one(Count::PublishFailed))?;
    bus.counters.one(Count::Published);
    let over_capacity = over.iter().map(|(_, members)| members).sum::<usize>();
    bus.counters.add(Count::Full, over_capacity as u64);
    let (mut local, mut missed) = (Deliveries::default(), Deliveries::default());
    missed.full = over_capacity;
    for (key, count, back) in own {
        let is_over = over.iter().any(|(full, _)| *full == key);
        let back = if is_over { None } else { back.wait(bus.config.hub.timeout).await };
        missed.full += back.map_or(0, |back| back.full);
        add(&mut local, count, back);
    }
    missed.matched = matched;
    bus.hub.warn_of_full(to.groups(), &missed);
    Ok(local)
}

/// Nothing has come back if the whole process was full, or slow.
fn add(sum: &mut Deliveries, members: usize, back: Option<Deliveries>) {
    match back {
        Some(back) => {
            sum.matched += back.matched;
            sum.delivered += back.delivered;
            sum.full += back.full;
            sum.closed += back.closed;
        }
        None => {
            sum.matched += members;
            sum.full += members;
        }
    }
}

/// Who is meant, each once, in the order in which Redis has them.
async fn members(core: &Core, to: &Audience) -> Result<Vec<ChannelName>, Fault> {
    let bus = &core.bus;
    let lists = try_join_all(to.groups().map(|group| core.members(group))).await?;
    for (group, list) in to.groups().zip(&lists) {
        // A look will tell whether Redis has lost it, or somebody has taken them out.
        if bus.hub.member_count(group) > 0 && !list.iter().any(|channel| bus.is_ours(channel)) {
            bus.suspicion.notify_one();
        }
    }
    let is_meant = |channel: &ChannelName| {
        // A mailbox of ours that was dropped will be taken out of the group soon.
        let is_gone = bus.is_ours(channel) && !bus.hub.contains(channel);
        to.excepted() != Some(channel) && !is_gone
    };
    let mut members: Vec<_> = lists.into_iter().flatten().filter(is_meant).collect();
    if to.is_union() {
        let mut seen = HashSet::new();
        members.retain(|channel| seen.insert(channel.clone()));
    }
    Ok(members)
}

/// The members of each process, and of each general channel.
fn by_process(members: Vec<ChannelName>) -> Vec<Vec<ChannelName>> {
    let mut processes: Vec<Vec<ChannelName>> = Vec::new();
    let mut places = HashMap::<String, usize>::new();
    for member in members {
        match places.get(member.non_local()) {
            Some(place) => processes[*place].push(member),
            None => {
                places.insert(member.non_local().to_owned(), processes.len());
                processes.push(vec![member]);
            }
        }
    }
    processes
}

fn parcel(bus: &Bus, members: &[ChannelName], message: &Message) -> Result<Parcel> {
    let names = Value::list(members.iter().map(ChannelName::as_str));
    Ok(Parcel {
        key: bus.keys.messages(members[0].non_local()),
        capacity: bus.capacity_of(&members[0]).to_string(),
        member: bus.encode_with(message, Some(&names))?,
        members: members.len(),
    })
}

/// Parcels that are queued for one host.
struct Put {
    parcels: Vec<Parcel>,
    queued: Queued,
}

impl Put {
    /// Queues them by the script's text, which is sent once: by its hash, a server that does not know it would have it
    /// sent again, behind later messages.
    async fn queue(bus: &Bus, host: &Host, parcels: Vec<Parcel>) -> Result<Self, Fault> {
        let (lifetime, expired) = (bus.expiry_millis(), score_before(bus.config.hub.layer.expiry));
        let score = bus.clock.score();
        let mut arguments = vec![score.as_bytes(), expired.as_bytes(), lifetime.as_bytes()];
        for parcel in &parcels {
            arguments.extend([parcel.capacity.as_bytes(), parcel.member.as_slice()]);
        }
        let keys: Vec<_> = parcels.iter().map(|parcel| parcel.key.clone()).collect();
        let queued = host.connections()?.queue(FAN_OUT.by_text(&keys, &arguments)).await?;
        Ok(Self { parcels, queued })
    }

    /// Returns the keys that were full, and for how many members.
    async fn over(self, bus: &Bus) -> Result<Vec<(String, usize)>, Fault> {
        let reply = self.queued.reply().await?;
        let over = reply.read("a script", &bus.counters, Reply::list)?;
        let mut parcels = self.parcels;
        let mut key = |at: &Reply| {
            let at = usize::try_from(at.integer()?.checked_sub(1)?).ok()?;
            let parcel = parcels.get_mut(at)?;
            Some((std::mem::take(&mut parcel.key), parcel.members))
        };
        let key = |at| {
            key(at).or_else(|| {
                at.note_unreadable("a script", &bus.counters);
                None
            })
        };
        Ok(over.iter().filter_map(key).collect())
    }
}
