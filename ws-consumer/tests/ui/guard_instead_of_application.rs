//! Guards where an application is asked for: `around` is forgotten.

use ws_consumer::{
    Protocols, Router,
    middleware::{AllowedHosts, Guard, Traced},
};

fn main() {
    let _ = Protocols::new().websocket(Traced);
    let _ = Router::new().application("/ws", AllowedHosts::local().and(Traced));
}
