//! How deep lists and maps may be nested.

use super::ValueError;

/// Most levels of lists and maps inside one another. The same number that `serde_json` stops at; beyond
/// it lies no honest message, and each level costs stack in every recursive walk.
pub const MAX_DEPTH: usize = 128;

/// Levels that may still be opened below the point where a walk stands.
#[derive(Clone, Copy)]
pub(super) struct Levels(usize);

impl Levels {
    /// At the top: nothing opened yet.
    pub(super) const ALL: Self = Self(MAX_DEPTH);

    /// Opens a list or map, and gives what is left inside it.
    pub(super) fn enter(self) -> Result<Self, ValueError> {
        self.0.checked_sub(1).map(Self).ok_or(ValueError::TooDeep)
    }
}

/// How much to allocate before the items are seen. A length on the wire is only a claim: a few bytes can
/// announce four billion items, once per level.
pub(super) fn cautious(claimed: Option<usize>) -> usize {
    const MOST: usize = 32;
    claimed.unwrap_or(0).min(MOST)
}
