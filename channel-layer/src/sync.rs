//! The locks of the types that race. Under `--cfg shuttle` they are shuttle's, which tries the interleavings.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock};
#[cfg(shuttle)]
pub(crate) use std::sync::PoisonError;
