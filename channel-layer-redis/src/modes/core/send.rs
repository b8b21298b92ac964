//! Sending messages: into the sorted sets of channels, and to the members of groups.

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
    hosts::{CoreInner, Host},
    named::SortedSetQueues,
    state::CoreState,
};
use crate::{
    error::CallError,
    link::{
        PendingReply,
        client::{Reply, Script},
    },
    stats::Count,
};

static FAN_OUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("fan_out.lua")));

/// Sends to a mailbox of another process, or to a general channel.
pub(super) async fn push(inner: &CoreInner, channel: &ChannelName, message: &Message) -> Result<()> {
    let (state, at) = (&inner.state, inner.state.host_of(channel));
    let (body, capacity) = (state.encode(channel, message)?, state.capacity_of(channel));
    let push = Push { body: &body, capacity, expiry: state.config.hub.layer.expiry, once: None };
    let pushed = match inner.hosts[at].commands() {
        Ok(commands) => SortedSetQueues { state: state.clone(), at, commands }.push(channel, push).await,
        Err(error) => Err(error.into()),
    };
    match pushed {
        Ok(_) => state.counters.one(Count::Published),
        Err(full @ Error::ChannelFull { .. }) => return Err(full),
        Err(error) => {
            state.counters.one(Count::PublishFailed);
            return Err(error);
        }
    }
    Ok(())
}

/// The message to one process, with the names of its members.
struct ProcessEnvelope {
    key: String,
    capacity: String,
    member: Vec<u8>,
    /// The number of members.
    members: usize,
}

/// Sends one message to each process with members of an audience. Returns the deliveries in this process.
///
/// Concurrent calls look up members at the same time. Their messages are queued in the order in which the calls began.
pub(super) async fn fan_out(inner: &CoreInner, to: &Audience, message: &Message) -> Result<Deliveries> {
    let CoreInner { state, hosts, .. } = inner;
    // In the first poll: no await may come before it.
    let turn = state.order.enter(to.groups());
    // No message has been sent yet.
    let members = members(inner, to).await.map_err(|error| match error {
        error if error.is_outage() => Error::Unavailable(error.into()),
        error => error.into(),
    })?;
    let matched = members.len();
    let mut envelopes: Vec<Vec<ProcessEnvelope>> = hosts.iter().map(|_| Vec::new()).collect();
    let mut local_envelopes = Vec::new();
    for members in by_process(members) {
        let envelope = envelope(state, &members, message)?;
        let host = state.host_of(&members[0]);
        if state.is_ours(&members[0]) {
            let count = members.len();
            let echo = state.echoes.add(&envelope.key, &envelope.member, (message.clone(), members));
            local_envelopes.push((envelope.key.clone(), count, echo));
        }
        envelopes[host].push(envelope);
    }
    // The limit of a lookup: a timeout in the queue, and one for the reply.
    turn.wait(state.config.hub.timeout * 2).await;
    let queued = hosts.iter().zip(envelopes).filter(|(_, envelopes)| !envelopes.is_empty());
    let queued =
        join_all(queued.map(|(host, envelopes)| QueuedEnvelopes::queue(state, host, envelopes))).await;
    drop(turn);
    let sent = join_all(queued.into_iter().map(async |queued| queued?.full_keys(state).await)).await;
    let over: Vec<_> = sent.iter().flatten().flatten().cloned().collect();
    // Some hosts may have accepted their part, and then the message is not unsent.
    CallError::combine(sent).inspect_err(|_| state.counters.one(Count::PublishFailed))?;
    state.counters.one(Count::Published);
    let over_capacity = over.iter().map(|(_, members)| members).sum::<usize>();
    state.counters.add(Count::Full, over_capacity as u64);
    let (mut local, mut missed) = (Deliveries::default(), Deliveries::default());
    missed.full = over_capacity;
    for (key, count, echo) in local_envelopes {
        let is_over = over.iter().any(|(full, _)| *full == key);
        let echo = if is_over { None } else { echo.wait(state.config.hub.timeout).await };
        missed.full += echo.map_or(0, |echo| echo.full);
        add(&mut local, count, echo);
    }
    missed.matched = matched;
    state.hub.warn_of_full(to.groups(), &missed);
    Ok(local)
}

/// Adds the deliveries of an envelope, which are `None` if the process was full or slow.
fn add(sum: &mut Deliveries, members: usize, echo: Option<Deliveries>) {
    match echo {
        Some(echo) => {
            sum.matched += echo.matched;
            sum.delivered += echo.delivered;
            sum.full += echo.full;
            sum.closed += echo.closed;
        }
        None => {
            sum.matched += members;
            sum.full += members;
        }
    }
}

/// The members of an audience, each once, in the order of Redis.
async fn members(inner: &CoreInner, to: &Audience) -> Result<Vec<ChannelName>, CallError> {
    let state = &inner.state;
    let lists = try_join_all(to.groups().map(|group| inner.members(group))).await?;
    for (group, list) in to.groups().zip(&lists) {
        // A check decides whether Redis has lost the group, or another process has removed the members.
        if state.hub.member_count(group) > 0 && !list.iter().any(|channel| state.is_ours(channel)) {
            state.suspicion.notify_one();
        }
    }
    let is_included = |channel: &ChannelName| {
        // A dropped mailbox of this process is removed from the group soon.
        let is_gone = state.is_ours(channel) && !state.hub.contains(channel);
        to.excepted() != Some(channel) && !is_gone
    };
    let mut members: Vec<_> = lists.into_iter().flatten().filter(is_included).collect();
    if to.is_union() {
        let mut seen = HashSet::new();
        members.retain(|channel| seen.insert(channel.clone()));
    }
    Ok(members)
}

/// Members by process, with each general channel separate.
fn by_process(members: Vec<ChannelName>) -> Vec<Vec<ChannelName>> {
    let mut processes: Vec<Vec<ChannelName>> = Vec::new();
    let mut positions = HashMap::<String, usize>::new();
    for member in members {
        match positions.get(member.non_local()) {
            Some(position) => processes[*position].push(member),
            None => {
                positions.insert(member.non_local().to_owned(), processes.len());
                processes.push(vec![member]);
            }
        }
    }
    processes
}

fn envelope(state: &CoreState, members: &[ChannelName], message: &Message) -> Result<ProcessEnvelope> {
    let names = Value::list(members.iter().map(ChannelName::as_str));
    Ok(ProcessEnvelope {
        key: state.keys.messages(members[0].non_local()),
        capacity: state.capacity_of(&members[0]).to_string(),
        member: state.encode_with(message, Some(&names))?,
        members: members.len(),
    })
}

/// Envelopes that are queued for one host.
struct QueuedEnvelopes {
    envelopes: Vec<ProcessEnvelope>,
    queued: PendingReply,
}

impl QueuedEnvelopes {
    /// Queues them with the text of the script: a call by its hash might have to be repeated, behind later messages.
    async fn queue(
        state: &CoreState,
        host: &Host,
        envelopes: Vec<ProcessEnvelope>,
    ) -> Result<Self, CallError> {
        let (lifetime, expired) = (state.expiry_millis(), score_before(state.config.hub.layer.expiry));
        let score = state.clock.score();
        let mut arguments = vec![score.as_bytes(), expired.as_bytes(), lifetime.as_bytes()];
        for envelope in &envelopes {
            arguments.extend([envelope.capacity.as_bytes(), envelope.member.as_slice()]);
        }
        let keys: Vec<_> = envelopes.iter().map(|envelope| envelope.key.clone()).collect();
        let queued = host.commands()?.queue(FAN_OUT.by_text(&keys, &arguments)).await?;
        Ok(Self { envelopes, queued })
    }

    /// Returns the keys that were full, with the number of their members.
    async fn full_keys(self, state: &CoreState) -> Result<Vec<(String, usize)>, CallError> {
        let reply = self.queued.reply().await?;
        let over = reply.read("a script", &state.counters, Reply::list)?;
        let mut envelopes = self.envelopes;
        let mut key = |at: &Reply| {
            let at = usize::try_from(at.integer()?.checked_sub(1)?).ok()?;
            let envelope = envelopes.get_mut(at)?;
            Some((std::mem::take(&mut envelope.key), envelope.members))
        };
        let key = |at| {
            key(at).or_else(|| {
                at.note_unreadable("a script", &state.counters);
                None
            })
        };
        Ok(over.iter().filter_map(key).collect())
    }
}
