"""Implementations of the storage ports on PostgreSQL, one module per port or query."""
