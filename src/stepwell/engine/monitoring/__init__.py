"""Monitors of the event loop and of writes, for the health check and the metrics."""
