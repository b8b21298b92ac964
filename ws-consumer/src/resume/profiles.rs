//! The profiles of the connections that a session needs.

use crate::wire::Profile;

/// A carrier: the session behind it is the client's connection, and reports for itself.
pub(crate) const CARRIER: Profile =
    Profile { identifies_user: false, is_counted: false, reports_failures: false, ..Profile::CLIENT };

/// A run of the application's guards for a client that resumes.
pub(super) const ADMISSION: Profile = Profile { decides_only: true, ..CARRIER };

/// A session. Its log numbers every frame and every gap.
pub(super) const SESSION: Profile =
    Profile { buffers_input: true, reports_gaps: true, shares_frames: true, ..Profile::CLIENT };
