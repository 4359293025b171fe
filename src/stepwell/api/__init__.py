"""The HTTP API: what a request must look like, who may send it, and how the answer looks.

Read `routes` for how it is put together. Each operation is described once, by the `Operation` beside its handler:
the gate acts by it and `openapi` documents by it, so that the two can't part. `problems` is the one table of
errors, `schemas` the answers field by field, `queries` and `bodies` what is refused before a handler sees it.
"""
