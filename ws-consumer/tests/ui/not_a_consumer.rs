//! A type that implements nothing.

use ws_consumer::Router;

#[derive(Default)]
struct Chat;

fn main() {
    let _ = Router::new().consumer("/chat", Chat::default);
}
