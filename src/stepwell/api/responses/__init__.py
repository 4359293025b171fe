"""What goes out: the structs of answers, streams, conditional requests, problems and idempotent answers."""
