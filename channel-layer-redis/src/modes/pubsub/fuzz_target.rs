//! Forged messages, delivered as if by Redis.

use channel_layer::{GroupName, backbone::HubLayer};

use super::DjangoFormat;
use crate::{
    config::RedisConfig,
    modes::fuzz_harness::{FuzzBus, receive},
};

/// Delivers forged messages to a process with a member.
pub(crate) async fn received<'a>(config: RedisConfig, forged: impl Iterator<Item = (u8, &'a [u8])>) {
    let (bus, format) = (FuzzBus::default(), DjangoFormat::new(&config));
    let group = format.keys.group(&GroupName::new("room").expect("a name"));
    let layer = HubLayer::builder(bus.clone(), config.hub.clone()).format(format).start();
    let forged = forged.map(|(choice, payload)| (choice, payload.to_vec()));
    receive(&bus, &layer, forged, |mailbox, choice, payload| match choice % 3 {
        0 => group.clone(),
        1 => mailbox.to_string(),
        _ => String::from_utf8_lossy(&payload[..payload.len().min(20)]).into_owned(),
    })
    .await;
}
