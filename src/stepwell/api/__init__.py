"""The HTTP API: it checks requests, passes them to the engine, and builds the responses.

A request passes its packages from the bottom: `requests`, `auth`, `responses`, `routes`. Start with
`routes.all_routes`, which puts the API together. The `Operation` beside each handler describes the operation once.
`auth` obeys that description, and `openapi` documents it, so the two can't differ. `responses.problems` is the one
table of errors. `requests.query_parameters` and `requests.request_bodies` refuse malformed requests before a handler
runs. `responses.serializers` builds the structs of the responses, which are defined in the layer `contract`.
"""
