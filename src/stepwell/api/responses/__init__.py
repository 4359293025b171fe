"""The responses: their structs, streams, conditional requests, problems and idempotency."""
