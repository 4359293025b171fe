"""Everything about PostgreSQL: connections, statements, the tables and their rows, and the embedded server.

Only this package contains SQL. Only the composition root imports it; all other packages know the ports.

Hot path
--------
These oddities are deliberate. Each saves a measurable part of what a step or a request costs:

- `connections.connection_pool.SmallPool` instead of asyncpg's pool, and a context manager without contextlib.
- `connections.database._ObservedConnection`, which counts statements without asyncpg's query loggers, and pools
  that don't reset their sessions.
- `clock.uuid7`, which returns asyncpg's own subclass of `uuid.UUID`.
- `tables.column.RowType`, which generates the functions that encode rows, and `tables.wire`, which encodes each value
  that repeats once. asyncpg gets arrays of rows as bytes.
- `statements.engine_statements.CHECKPOINT`, one statement with arrays of composite types for all tables.
- `stores.batched_reads`, which runs SQLAlchemy's statements by asyncpg, and `runtime.batching` for reads and inserts.
- `stores.event_feed`, which caches built statements.
"""
