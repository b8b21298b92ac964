//! Redis backends for [`channel_layer`], wire-compatible with Django Channels' channels_redis.
