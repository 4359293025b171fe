"""Connections to PostgreSQL: the database object, pools, the timestamp codec, and the write probe."""
