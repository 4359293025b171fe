"""Implementations of the ports of the database on PostgreSQL: a module for each port, with its statements.

The statements of `workflow_store` are in the package `statements`. Modules that implement no port are
parts of one: `batched_inserts` of `workflow_store`, and those about reads of `workflow_reader`.
"""
