//! [`ServerHooks`], which run before the first connection and after the last.

use std::{pin::Pin, sync::Arc};

use channel_layer::ChannelLayer;
use tokio::sync::OnceCell;

use crate::error::Result;

type ServerHook =
    Box<dyn Fn(Arc<dyn ChannelLayer>) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

#[derive(Default)]
pub(super) struct ServerHooks {
    startup: Vec<ServerHook>,
    shutdown: Vec<ServerHook>,
    up: OnceCell<()>,
    /// Initialized once the shutdown hooks have run, which happens once.
    down: OnceCell<()>,
}

impl ServerHooks {
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

    /// Whether the start-up hooks have run.
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

    /// Runs all shutdown hooks, in reverse order, also after a failure.
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
