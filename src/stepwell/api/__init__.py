"""The HTTP API: requests are checked, passed to the engine, and answered.

Start with `routes`, which puts the API together. The `Operation` beside each handler describes the operation once. The
middleware in `auth` obeys that description, and `openapi` documents it, so the two can't differ. `problems` is the one
table of errors. `query_parameters` and `request_bodies` refuse malformed requests before a handler runs.
`serializers` builds the structs of the answers, which are defined in the layer `contract`.
"""
