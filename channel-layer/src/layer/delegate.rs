//! Layers that pass on every call to a layer within.

use std::{pin::Pin, sync::Arc};

use super::ChannelLayer;
use crate::error::Result;

/// A call under way, as `async_trait` makes it.
#[doc(hidden)]
pub type LayerCall<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Implements [`ChannelLayer`](crate::ChannelLayer) for a type that owns a layer, by passing on every call. The futures are
/// passed on as they are, without a box of their own.
///
/// ```
/// use channel_layer::{ChannelLayerExt, MemoryLayer};
///
/// #[derive(Debug, Default)]
/// struct OurLayer {
///     inner: MemoryLayer,
/// }
///
/// channel_layer::delegate_layer!([] OurLayer, this => this.inner);
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> channel_layer::Result<()> {
/// assert!(OurLayer::default().new_channel().await.is_ok());
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! delegate_layer {
    ([$($generics:tt)*] $layer:ty, $this:ident => $inner:expr) => {
        #[deny(clippy::missing_trait_methods)]
        impl<$($generics)*> $crate::ChannelLayer for $layer {
            fn capabilities(&self) -> $crate::Capabilities {
                let $this = self;
                $crate::ChannelLayer::capabilities(&$inner)
            }
            $crate::__delegate_call!($this, $inner, open(options: $crate::MailboxOptions) -> $crate::Mailbox);
            $crate::__delegate_call!($this, $inner, send(channel: & $crate::ChannelName, message: $crate::Message) -> ());
            $crate::__delegate_call!($this, $inner, receive(channel: & $crate::ChannelName) -> $crate::Message);
            $crate::__delegate_call!($this, $inner, group_add(group: & $crate::GroupName, channel: & $crate::ChannelName) -> ());
            $crate::__delegate_call!($this, $inner, group_select(group: & $crate::GroupName, channel: & $crate::ChannelName, selection: $crate::Selection) -> ());
            $crate::__delegate_call!($this, $inner, group_discard(group: & $crate::GroupName, channel: & $crate::ChannelName) -> ());
            $crate::__delegate_call!($this, $inner, group_discard_all(channel: & $crate::ChannelName) -> ());
            $crate::__delegate_call!($this, $inner, group_send(to: & $crate::Audience, message: $crate::Message) -> $crate::SendReport);
            fn directory(&self) -> ::std::option::Option<&dyn $crate::GroupDirectory> {
                let $this = self;
                $crate::ChannelLayer::directory(&$inner)
            }
            fn events(&self) -> $crate::LayerEvents {
                let $this = self;
                $crate::ChannelLayer::events(&$inner)
            }
            $crate::__delegate_call!($this, $inner, health() -> $crate::Health);
            $crate::__delegate_call!($this, $inner, flush() -> ());
            $crate::__delegate_call!($this, $inner, close() -> ());
        }
    };
}

/// An asynchronous method of a delegated layer, with the signature that `async_trait` gives it: a lifetime for each
/// reference.
#[doc(hidden)]
#[macro_export]
macro_rules! __delegate_call {
    ($this:ident, $inner:expr, $name:ident() -> $output:ty) => {
        fn $name<'s, 'f>(&'s self) -> $crate::LayerCall<'f, $output>
        where
            's: 'f,
            Self: 'f,
        {
            let $this = self;
            $crate::ChannelLayer::$name(&$inner)
        }
    };
    ($this:ident, $inner:expr, $name:ident($one:ident: & $first:ty) -> $output:ty) => {
        fn $name<'s, 'a, 'f>(&'s self, $one: &'a $first) -> $crate::LayerCall<'f, $output>
        where
            's: 'f,
            'a: 'f,
            Self: 'f,
        {
            let $this = self;
            $crate::ChannelLayer::$name(&$inner, $one)
        }
    };
    ($this:ident, $inner:expr, $name:ident($one:ident: $first:ty) -> $output:ty) => {
        fn $name<'s, 'f>(&'s self, $one: $first) -> $crate::LayerCall<'f, $output>
        where
            's: 'f,
            Self: 'f,
        {
            let $this = self;
            $crate::ChannelLayer::$name(&$inner, $one)
        }
    };
    ($this:ident, $inner:expr, $name:ident($one:ident: & $first:ty, $two:ident: & $second:ty) -> $output:ty) => {
        fn $name<'s, 'a, 'b, 'f>(
            &'s self,
            $one: &'a $first,
            $two: &'b $second,
        ) -> $crate::LayerCall<'f, $output>
        where
            's: 'f,
            'a: 'f,
            'b: 'f,
            Self: 'f,
        {
            let $this = self;
            $crate::ChannelLayer::$name(&$inner, $one, $two)
        }
    };
    ($this:ident, $inner:expr, $name:ident($one:ident: & $first:ty, $two:ident: $second:ty) -> $output:ty) => {
        fn $name<'s, 'a, 'f>(&'s self, $one: &'a $first, $two: $second) -> $crate::LayerCall<'f, $output>
        where
            's: 'f,
            'a: 'f,
            Self: 'f,
        {
            let $this = self;
            $crate::ChannelLayer::$name(&$inner, $one, $two)
        }
    };
    ($this:ident, $inner:expr, $name:ident($one:ident: & $first:ty, $two:ident: & $second:ty, $three:ident: $third:ty) -> $output:ty) => {
        fn $name<'s, 'a, 'b, 'f>(
            &'s self,
            $one: &'a $first,
            $two: &'b $second,
            $three: $third,
        ) -> $crate::LayerCall<'f, $output>
        where
            's: 'f,
            'a: 'f,
            'b: 'f,
            Self: 'f,
        {
            let $this = self;
            $crate::ChannelLayer::$name(&$inner, $one, $two, $three)
        }
    };
}

// A pointer to a layer is a layer.
delegate_layer!([L: ChannelLayer + ?Sized] Arc<L>, this => **this);
delegate_layer!([L: ChannelLayer + ?Sized] Box<L>, this => **this);
