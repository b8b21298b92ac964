//! What stands between the door and the application.

mod origin;

pub use self::origin::{OriginCheck, Origins};
