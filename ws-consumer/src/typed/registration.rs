//! The applications that typed consumers make.

use super::{
    adapter::{Inputs, Typed},
    consumer::TypedConsumer,
    requests::{InputsAndRequests, TypedRequests},
};
use crate::{application::Application, consumer::consumer};

/// Returns an application that creates a typed consumer for each connection.
///
/// A consumer with [requests](TypedRequests) is served by [`typed_requests`]: for this function it does not compile, since
/// its requests would be bad input.
pub fn typed<C, Function, F>(make: F) -> impl Application
where
    C: ServedBy<Function>,
    F: Fn() -> C + Send + Sync + 'static,
{
    consumer(move || Typed::<C, Inputs>::new(make()))
}

/// Returns an application that creates a typed consumer with requests for each connection.
pub fn typed_requests<C, F>(make: F) -> impl Application
where
    C: TypedRequests,
    F: Fn() -> C + Send + Sync + 'static,
{
    consumer(move || Typed::<C, InputsAndRequests>::new(make()))
}

/// The function that serves a typed consumer. A consumer without requests has one implementation, so that the compiler infers
/// `Function`; one with requests has two, which the compiler then lists.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no typed consumer",
    note = "implement `TypedConsumer` for it: its types `Codec`, `Input`, `Output` and `Event` have to be named",
    note = "a `Consumer` is served by `Router::consumer` or `consumer`"
)]
pub trait ServedBy<Function>: TypedConsumer {}

/// [`typed`], for any typed consumer.
pub enum ByTyped {}
/// [`typed_requests`], for those with requests.
pub enum ByTypedRequests {}

impl<C: TypedConsumer> ServedBy<ByTyped> for C {}
impl<C: TypedRequests> ServedBy<ByTypedRequests> for C {}
