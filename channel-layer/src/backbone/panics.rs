//! Panics of tasks whose result is not awaited.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt;

use super::error::LinkError;

/// Runs a future, and returns its panic as an error.
///
/// State that the future shares with others has to be valid after a panic, too.
pub(super) async fn caught<T>(task: &'static str, work: impl Future<Output = T>) -> Result<T, LinkError> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let error = LinkError::Panicked(text(&*panic));
        tracing::error!(task, %error, "a defect: the task restarts");
        error
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
    async fn a_panic_becomes_an_error() {
        assert!(matches!(caught("test", async { 1 }).await, Ok(1)));
        for words in ["no way", "never"] {
            let ended = caught("test", async move { std::panic::panic_any(words.to_owned()) }).await;
            assert!(matches!(ended, Err::<(), _>(LinkError::Panicked(text)) if text == words));
        }
    }
}
