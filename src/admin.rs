//! The admin sockets and the metrics: HTTP and JSON over unix sockets, and `GET /metrics` over TCP.
