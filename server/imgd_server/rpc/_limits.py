"""The bounds of the gRPC side that clients can meet."""

__all__ = ["MAX_MESSAGE_BYTES", "MIN_KEEPALIVE_SECONDS"]

# gRPC's own default for received messages; no request of ours comes near it.
MAX_MESSAGE_BYTES = 4 << 20

# Clients behind address translation ping to keep a quiet watch alive. gRPC's default permits one
# ping in five minutes and then closes the connection (`too_many_pings`); ours are cheap.
MIN_KEEPALIVE_SECONDS = 10.0
