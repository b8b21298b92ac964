//! The modes: what each stores in Redis, and under which names.

pub(crate) mod core;
