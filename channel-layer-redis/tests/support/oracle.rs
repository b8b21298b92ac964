//! Counts what was sent and what came, and says what went wrong.
