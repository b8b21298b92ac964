mod boastful;
mod faulty;
mod teeth;

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

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
    crate::conformance_tests!(
        super::Mounted(|config| super::Arc::new(super::MemoryLayer::new(config))),
        skips: [cross_process, freeze, residue, sever, size_limit]
    );
}

mod on_a_box {
    crate::conformance_tests!(
        super::Mounted(|config| {
            let boxed: Box<dyn super::ChannelLayer> = Box::new(super::MemoryLayer::new(config));
            super::Arc::new(boxed)
        }),
        skips: [cross_process, freeze, residue, sever, size_limit]
    );
}

mod on_an_arc {
    crate::conformance_tests!(
        super::Mounted(|config| {
            let shared: super::Arc<dyn super::ChannelLayer> = super::Arc::new(super::MemoryLayer::new(config));
            super::Arc::new(shared)
        }),
        skips: [cross_process, freeze, residue, sever, size_limit]
    );
}

mod on_a_bus {
    crate::conformance_tests!(super::faulty::OnBus::sound());
}

mod on_a_plain_bus {
    crate::conformance_tests!(super::faulty::OnBus::plain(), skips: [stores_messages, reports_full]);
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

    async fn sever(&self) -> bool {
        self.0.begin();
        true
    }

    async fn mend(&self) -> bool {
        self.0.end();
        true
    }

    fn timing(&self) -> Timing {
        Timing::paused()
    }

    fn runtime(&self) -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }
}

mod behind_an_outage {
    crate::conformance_tests!(
        super::CutOff(super::Outage::default()),
        skips: [cross_process, freeze, residue, size_limit]
    );
}

#[test]
fn the_checklist_is_covered() {
    let covered: BTreeSet<_> = cases().iter().flat_map(|case| case.covers.split_whitespace()).collect();
    let mut listed = BTreeSet::new();
    for row in include_str!("../django.md").lines().filter_map(|line| line.strip_prefix("| ")) {
        let columns: Vec<_> = row.split(" | ").collect();
        let [item, _, reason] = columns[..] else { panic!("{row}") };
        if item == "item" {
            continue;
        }
        let is_excused = reason != "|";
        assert_ne!(covered.contains(item), is_excused, "{item} is either covered or excused");
        assert!(listed.insert(item), "{item} is listed twice");
    }
    assert!(covered.is_subset(&listed), "unknown items: {:?}", covered.difference(&listed));
    assert_eq!(listed.len(), 5 + 22 + 36 + 17);
}

#[test]
fn unexpected_skips_fail() {
    let harness = Mounted(|config| Arc::new(MemoryLayer::new(config)));
    let fails = |skips: &'static [&'static str], case: &str| {
        let mount = Mount::new("a mount", skips);
        catch_unwind(AssertUnwindSafe(|| mount.test(&harness, case))).is_err()
    };
    const SKIPPED: &str = "groups_span_processes";
    const RUN: &str = "bad_prefixes_are_refused";
    assert!(fails(&[], SKIPPED), "a skip that is not expected");
    assert!(!fails(&[SKIPPED], SKIPPED) && !fails(&["cross_process"], SKIPPED));
    assert!(fails(&[RUN], RUN), "an expected skip that runs");
    assert!(!fails(&[SKIPPED], RUN));
    let check =
        |skips| catch_unwind(AssertUnwindSafe(|| Mount::new("a mount", skips).check(&harness))).is_ok();
    assert!(check(&[SKIPPED]) && check(&["cross_process", "sever", "freeze", "residue", "size_limit"]));
    assert!(!check(&["no_such_case"]), "an unknown name");
    assert!(!check(&["stores_messages"]) && !check(&["directory"]), "a claim that the backend makes");
}

/// Memory that claims to reach other processes, with a harness that has none.
#[test]
fn untestable_claims_fail() {
    let harness = || Mounted(|config| Arc::new(boastful::Boastful(MemoryLayer::new(config))));
    let summary = run_all(cases(), 2, harness);
    assert!(summary.skipped.iter().all(|(_, skip)| skip.0 == "size_limit"), "{:?}", summary.skipped);
    let failed = |name: &str| summary.failed.iter().any(|(failed, _)| *failed == name);
    assert!(failed("groups_span_processes"), "no peer");
    assert!(failed("a_severance_is_reported_once") && failed("a_freeze_is_reported_once"));
    assert!(failed("leaving_leaves_no_residue"), "no residue");
    assert!(catch_unwind(|| summary.check(&["size_limit"])).is_err());
}

#[test]
fn the_summary_counts_cases() {
    let harness = || Mounted(|config| Arc::new(MemoryLayer::new(config)));
    let some = ["groups_span_processes", "bad_prefixes_are_refused", "health_counts_mailboxes"];
    let some: Vec<_> = some.iter().map(|name| case(name).unwrap()).collect();
    let summary = run_all(&some, 2, harness);
    assert_eq!(summary.to_string(), "2 run, 1 skipped, 0 failed");
    assert_eq!(summary.skipped, [("groups_span_processes", Skip("cross_process"))]);
    summary.check(&["cross_process"]);
    for skips in [&[][..], &["cross_process", "bad_prefixes_are_refused"], &["cross_process", "sever"]] {
        assert!(catch_unwind(|| summary.check(skips)).is_err(), "{skips:?}");
    }
}

#[test]
fn case_names_are_unique() {
    let names: BTreeSet<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().len());
}
