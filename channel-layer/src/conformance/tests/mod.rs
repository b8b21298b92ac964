mod faulty;
mod teeth;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{
    config::LayerConfig,
    layer::ChannelLayer,
    memory::MemoryLayer,
    wrap::{Outage, Wrapped},
};

/// The memory layer behind the pointer that `wrap` makes of it, with a paused clock.
pub(super) struct Mounted(pub(super) fn(LayerConfig) -> Arc<dyn ChannelLayer>);

#[async_trait]
impl Harness for Mounted {
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        (self.0)(config)
    }

    async fn peer(&self, _: LayerConfig) -> Option<Arc<dyn ChannelLayer>> {
        None
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::advance(time).await;
    }

    fn timing(&self) -> Timing {
        Timing::paused()
    }

    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }
}

mod on_the_type {
    crate::conformance_tests!(super::Mounted(|config| super::Arc::new(super::MemoryLayer::new(config))));
}

mod on_a_box {
    crate::conformance_tests!(super::Mounted(|config| {
        let boxed: Box<dyn super::ChannelLayer> = Box::new(super::MemoryLayer::new(config));
        super::Arc::new(boxed)
    }));
}

mod on_an_arc {
    crate::conformance_tests!(super::Mounted(|config| {
        let shared: super::Arc<dyn super::ChannelLayer> = super::Arc::new(super::MemoryLayer::new(config));
        super::Arc::new(shared)
    }));
}

/// The memory layer, whose backend a test can take away.
struct CutOff(Outage);

#[async_trait]
impl Harness for CutOff {
    async fn layer(&self, config: LayerConfig) -> Arc<dyn ChannelLayer> {
        Arc::new(Wrapped::new(MemoryLayer::new(config), self.0.clone()))
    }

    async fn peer(&self, _: LayerConfig) -> Option<Arc<dyn ChannelLayer>> {
        None
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::advance(time).await;
    }

    async fn begin_outage(&self) -> bool {
        self.0.begin();
        true
    }

    async fn end_outage(&self) {
        self.0.end();
    }

    fn timing(&self) -> Timing {
        Timing::paused()
    }

    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }
}

mod behind_an_outage {
    crate::conformance_tests!(super::CutOff(super::Outage::default()));
}

#[test]
fn every_item_of_the_checklist_is_a_case_or_has_a_reason() {
    let page = include_str!("../README.md");
    let covered: BTreeSet<_> = cases().iter().flat_map(|case| case.covers.split_whitespace()).collect();
    let excused: BTreeSet<_> =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    let items = |letter: char, count: usize| (1..=count).map(move |n| format!("{letter}{n}"));
    for item in items('L', 5).chain(items('M', 22)).chain(items('R', 36)) {
        let places = usize::from(covered.contains(&*item)) + usize::from(excused.contains(&*item));
        assert_eq!(places, 1, "{item} is either covered or excused");
    }
}

#[test]
fn no_two_cases_have_the_same_name() {
    let names: BTreeSet<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().len());
}
