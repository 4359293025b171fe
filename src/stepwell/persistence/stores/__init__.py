"""Implementations of the ports of the database on PostgreSQL: a module for each port, with its statements. The
statements of `workflow_store` and `lease_store` are in `statements.engine_statements`.
"""
