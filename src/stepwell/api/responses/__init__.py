"""The responses: serializers, streams, conditional requests, problems and idempotency."""
