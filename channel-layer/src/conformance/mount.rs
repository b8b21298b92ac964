//! A run of the suite on a backend: the expected skips, and the counts of outcomes.

use std::{
    any::Any,
    collections::HashSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use super::{Case, Harness, Skip, Verdict, case, cases, print, run};
use crate::{config::LayerConfig, layer::ChannelLayer};

/// The tests of one `conformance_tests!`: the skips that they expect, and a count of their outcomes.
#[derive(Debug)]
pub struct Mount {
    name: &'static str,
    skips: &'static [&'static str],
    run: AtomicUsize,
    skipped: AtomicUsize,
    failed: AtomicUsize,
}

impl Mount {
    /// A mount of this name. Each entry of `skips` is the name of a case, or of that for which cases are
    /// [skipped](Skip).
    pub const fn new(name: &'static str, skips: &'static [&'static str]) -> Self {
        Self {
            name,
            skips,
            run: AtomicUsize::new(0),
            skipped: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        }
    }

    /// Runs one case. The last one of the mount in this process writes the counts to standard error.
    ///
    /// # Panics
    /// If the case fails, is skipped without being expected, or is expected to be skipped and runs.
    pub fn test(&self, harness: &dyn Harness, name: &str) {
        let case = case(name).expect("the list is the same");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let verdict = run(harness, &case);
            check_skip(&case, verdict, self.skips).unwrap_or_else(|problem| panic!("{problem}"));
            verdict
        }));
        let count = match outcome {
            Ok(Ok(())) => &self.run,
            Ok(Err(_)) => &self.skipped,
            Err(_) => &self.failed,
        };
        // Relaxed: each test adds once, and only the last one reads the complete sum.
        count.fetch_add(1, Relaxed);
        let [run, skipped, failed] =
            [&self.run, &self.skipped, &self.failed].map(|count| count.load(Relaxed));
        if run + skipped + failed == cases().len() {
            print(&format!("conformance of {}: {run} run, {skipped} skipped, {failed} failed", self.name));
        }
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }

    /// Checks that each expected skip is a case, or a claim that the backend does not make.
    ///
    /// # Panics
    /// If one of them is not.
    pub fn check(&self, harness: &dyn Harness) {
        harness.runtime().block_on(async {
            let layer = harness.layer(LayerConfig::default()).await;
            for skip in self.skips {
                if case(skip).is_none() {
                    let lacks = lacks(harness, &*layer, skip).await;
                    assert!(lacks, "cases are not skipped because of `{skip}` on this backend");
                }
            }
        });
    }
}

/// Whether the backend, or the harness, lacks the ability of this name.
async fn lacks(harness: &dyn Harness, layer: &dyn ChannelLayer, skip: &str) -> bool {
    let can = layer.capabilities();
    match skip {
        "adds_foreign" => !can.adds_foreign,
        "cross_process" => !can.cross_process,
        "detects_loss" => !can.detects_loss,
        "selects" => !can.selects,
        "directory" => layer.directory().is_none(),
        "freeze" => !harness.freeze().await,
        "global_flush" => !can.global_flush,
        "lose" => !harness.lose().await,
        "orders_calls" => !can.orders_calls,
        "reports_full" => !can.reports_full,
        "residue" => harness.residue().await.is_none(),
        "sever" => !harness.sever().await,
        "shares_capacity" => can.shares_capacity,
        "shares_work" => !can.shares_work,
        "size_limit" => harness.size_limit().is_none(),
        "stores_messages" => !can.stores_messages,
        _ => panic!("`{skip}` is neither a case nor a reason to skip one"),
    }
}

/// Compares a verdict with the skips that are expected.
fn check_skip(case: &Case, verdict: Verdict, skips: &[&str]) -> Result<(), String> {
    match verdict {
        Ok(()) if skips.contains(&case.name) => {
            Err(format!("`{}` is among the expected skips, and ran", case.name))
        }
        Err(skip) if !skips.contains(&case.name) && !skips.contains(&skip.0) => {
            Err(format!("`{}` {skip}, and is not among the expected skips", case.name))
        }
        _ => Ok(()),
    }
}

/// The outcome of [`run_all`].
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The names of the cases that ran and passed.
    pub run: Vec<&'static str>,
    /// The names of the cases that were skipped, with the reasons.
    pub skipped: Vec<(&'static str, Skip)>,
    /// The names of the cases that failed, with the text of the panic.
    pub failed: Vec<(&'static str, String)>,
}

impl Summary {
    /// Checks that no case failed, and that exactly the expected ones were skipped. The entries of `skips` are as in
    /// [`Mount::new`].
    ///
    /// # Panics
    /// If that is not so.
    pub fn check(&self, skips: &[&str]) {
        let mut problems: Vec<_> = self.failed.iter().map(|(name, text)| format!("{name}: {text}")).collect();
        let run = self.run.iter().map(|name| (*name, Ok(())));
        let skipped = self.skipped.iter().map(|(name, skip)| (*name, Err(*skip)));
        for (name, verdict) in run.chain(skipped) {
            let case = case(name).expect("it is from the list");
            problems.extend(check_skip(&case, verdict, skips).err());
        }
        let reasons: HashSet<_> = self.skipped.iter().flat_map(|(name, skip)| [*name, skip.0]).collect();
        let unused = skips.iter().filter(|skip| !reasons.contains(*skip));
        problems.extend(unused.map(|skip| format!("no case was skipped because of `{skip}`")));
        assert!(problems.is_empty(), "{self}\n{}", problems.join("\n"));
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [run, skipped, failed] = [self.run.len(), self.skipped.len(), self.failed.len()];
        write!(f, "{run} run, {skipped} skipped, {failed} failed")
    }
}

/// Runs these cases, each on a separate harness, and up to this number of them at a time.
///
/// For backends whose servers take long to start; otherwise `conformance_tests!` makes a test of each case.
pub fn run_all<H: Harness>(cases: &[Case], at_once: usize, harness: impl Fn() -> H + Sync) -> Summary {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut summary = Summary::default();
        // Relaxed: only the number itself is shared.
        while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
            match catch_unwind(AssertUnwindSafe(|| run(&harness(), case))) {
                Ok(Ok(())) => summary.run.push(case.name),
                Ok(Err(skip)) => summary.skipped.push((case.name, skip)),
                Err(panic) => summary.failed.push((case.name, text_of(&*panic))),
            }
        }
        summary
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().fold(Summary::default(), |mut all, worker| {
            let part = worker.join().expect("panics of cases are caught");
            all.run.extend(part.run);
            all.skipped.extend(part.skipped);
            all.failed.extend(part.failed);
            all
        })
    })
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}
