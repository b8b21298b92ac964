//! What runs before the first connection and after the last.

use std::{pin::Pin, sync::Arc};

use channel_layer::ChannelLayer;
use tokio::sync::OnceCell;

use crate::error::Result;

type Hook =
    Box<dyn Fn(Arc<dyn ChannelLayer>) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

#[derive(Default)]
pub(super) struct Hooks {
    startup: Vec<Hook>,
    shutdown: Vec<Hook>,
    up: OnceCell<()>,
    /// Whoever closes waits for them; they run once.
    down: OnceCell<()>,
}

impl Hooks {
    pub(super) fn on_startup<F, Fut>(&mut self, hook: F)
    where
        F: Fn(Arc<dyn ChannelLayer>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.startup.push(Box::new(move |layer| Box::pin(hook(layer))));
    }

    pub(super) fn on_shutdown<F, Fut>(&mut self, hook: F)
    where
        F: Fn(Arc<dyn ChannelLayer>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.shutdown.push(Box::new(move |layer| Box::pin(hook(layer))));
    }

    /// Is there nothing to wait for?
    pub(super) fn are_up(&self) -> bool {
        self.startup.is_empty() || self.up.initialized()
    }

    pub(super) async fn startup(&self, layer: &Arc<dyn ChannelLayer>) -> Result<()> {
        let all = async {
            for hook in &self.startup {
                hook(layer.clone()).await?;
            }
            Ok(())
        };
        self.up.get_or_try_init(|| all).await.copied()
    }

    /// All of them, whatever the others say; last registered, first run.
    pub(super) async fn shutdown(&self, layer: &Arc<dyn ChannelLayer>) {
        let all = async {
            for hook in self.shutdown.iter().rev() {
                if let Err(error) = hook(layer.clone()).await {
                    tracing::error!(error = %error.causes(), "a shutdown hook failed");
                }
            }
        };
        self.down.get_or_init(|| all).await;
    }
}
