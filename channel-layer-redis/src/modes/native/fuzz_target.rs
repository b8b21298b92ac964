//! Forged envelopes, delivered as if by Redis.

use channel_layer::backbone::HubLayer;

use crate::{
    config::RedisConfig,
    modes::{
        fuzz_harness::{FuzzBus, receive},
        process_name,
    },
};

/// The number of the process that receives.
const NUMBER: u64 = 1;

/// Delivers forged envelopes to a process with a member. A publisher of zeros is replaced by the process itself, because a
/// process answers only its own envelopes.
pub(crate) async fn received<'a>(config: RedisConfig, forged: impl Iterator<Item = (u8, &'a [u8])>) {
    let bus = FuzzBus::default();
    let layer =
        HubLayer::builder(bus.clone(), config.hub.clone()).prefix(&config.prefix).process(NUMBER).start();
    let forged = forged.map(|(choice, payload)| {
        let mut payload = payload.to_vec();
        if let Some(publisher) = payload.get_mut(2..10).filter(|publisher| *publisher == [0; 8]) {
            publisher.copy_from_slice(&NUMBER.to_be_bytes());
        }
        (choice, payload)
    });
    receive(&bus, &layer, forged, |_, choice, _| match choice % 3 {
        0 => format!("{}:g:room", config.prefix),
        1 => format!("{}:n:{}", config.prefix, process_name(NUMBER)),
        _ => format!("{}:c:all", config.prefix),
    })
    .await;
}
