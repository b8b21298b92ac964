//! WebSocket consumers in the style of Django Channels, for hyper, axum and tower.
