//! The limit of nesting.

/// The most nested levels of lists and maps. The same limit as in `serde_json`. No legitimate message is deeper, and
/// each level costs stack in every recursion.
pub const MAX_DEPTH: usize = 128;

/// The number of levels that may still be opened.
#[derive(Clone, Copy)]
pub(super) struct Levels(usize);

impl Levels {
    /// The levels at the top.
    pub(super) const ALL: Self = Self(MAX_DEPTH);

    /// Opens a list or map, and returns the levels inside it.
    pub(super) fn enter(self) -> Result<Self, DepthError> {
        self.0.checked_sub(1).map(Self).ok_or(DepthError)
    }
}

/// The error beyond [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nested deeper than {MAX_DEPTH} levels")]
pub(super) struct DepthError;

/// The capacity to allocate before the items are read. A length on the wire is only a claim: a few bytes can announce
/// four billion items, at each level.
pub(super) fn cautious(claimed: Option<usize>) -> usize {
    const MOST: usize = 32;
    claimed.unwrap_or(0).min(MOST)
}
