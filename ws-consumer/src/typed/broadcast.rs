//! Outputs of a typed consumer, sent from outside of a connection.

use channel_layer::{Audience, ChannelLayer, GroupName, SendReport};

use super::{codec::Encode, consumer::TypedConsumer};
use crate::error::Result;

/// Broadcasts in a typed consumer's format: from a worker, a handler of plain HTTP, or anything else that has the layer.
///
/// ```
/// # use serde::Serialize;
/// # use ws_consumer::{BroadcastExt, Json, NoEvents, TypedConsumer};
/// #[derive(Serialize)]
/// struct Price<'a> { symbol: &'a str, cents: u64 }
///
/// struct Ticker;
///
/// impl TypedConsumer for Ticker {
///     type Codec = Json;
///     type Input = ();
///     type Output<'a> = Price<'a>;
///     type Event = NoEvents;
///
///     const GROUPS: &'static [&'static str] = &["prices"];
/// }
///
/// # async fn run(layer: channel_layer::MemoryLayer) -> ws_consumer::Result<()> {
/// layer.broadcast::<Ticker>("prices", &Price { symbol: "ABC", cents: 1250 }).await?;
/// # Ok(()) }
/// ```
///
/// A message with tags, for members that [select](crate::Context::group_add_where), is the same frame with its tags:
///
/// ```
/// # use ws_consumer::{Encode, Json, Result};
/// # #[derive(serde::Serialize)] struct Price { cents: u64 }
/// # async fn run(layer: channel_layer::MemoryLayer) -> Result<()> {
/// use channel_layer::ChannelLayerExt;
///
/// let frame = Json::encode(&Price { cents: 1250 })?;
/// layer.group_send_message("prices", frame.into_message().with_tag("symbol", "ABC")).await?;
/// # Ok(()) }
/// ```
pub trait BroadcastExt: ChannelLayer {
    /// Sends an output of the consumer `C` to the sockets of all members of a group, past their consumers.
    ///
    /// The output is encoded once, in the codec of `C`, and all members share the bytes. The members should be sockets of `C`, or of
    /// consumers with the same format.
    ///
    /// Cancel safety is that of [`ChannelLayer::group_send`].
    ///
    /// # Errors
    /// An output that the codec cannot encode; an invalid name; the layer's errors. Members that miss it are no error: the
    /// report counts them.
    fn broadcast<C: TypedConsumer>(
        &self,
        group: impl TryInto<GroupName, Error: Into<channel_layer::Error>>,
        output: &C::Output<'_>,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        // At once: the output need not be `Sync`.
        let frame = <C::Codec as Encode<C::Output<'_>>>::encode(output);
        let group = group.try_into().map_err(Into::into);
        async {
            let audience = Audience::from(group?);
            Ok(self.group_send(&audience, frame?.into_message()).await?)
        }
    }

    /// Sends an output like [`broadcast`](Self::broadcast), to several groups, or to all members but one:
    /// `Audience::from(group).except(channel)`.
    ///
    /// # Errors
    /// Those of [`broadcast`](Self::broadcast).
    fn broadcast_to<C: TypedConsumer>(
        &self,
        to: &Audience,
        output: &C::Output<'_>,
    ) -> impl Future<Output = Result<SendReport>> + Send {
        let frame = <C::Codec as Encode<C::Output<'_>>>::encode(output);
        async { Ok(self.group_send(to, frame?.into_message()).await?) }
    }
}

impl<L: ChannelLayer + ?Sized> BroadcastExt for L {}
