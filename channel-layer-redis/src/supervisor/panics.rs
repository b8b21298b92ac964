//! Panics of tasks that nobody waits for.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt;

use crate::error::Fault;

/// Runs it, and tells of its panic.
///
/// What it shares with others has to be whole after a panic, too.
pub(super) async fn caught<T>(task: &'static str, work: impl Future<Output = T>) -> Result<T, Fault> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let fault = Fault::Panicked(text(&*panic));
        tracing::error!(task, %fault, "a defect: the task begins anew");
        fault
    })
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("for an unknown reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_fault() {
        assert_eq!(caught("test", async { 1 }).await, Ok(1));
        let ended = caught("test", async { panic!("no {}", "way") }).await;
        assert_eq!(ended, Err::<(), _>(Fault::Panicked("no way".to_owned())));
        let ended = caught("test", async { panic!("never") }).await;
        assert_eq!(ended, Err::<(), _>(Fault::Panicked("never".to_owned())));
    }
}
