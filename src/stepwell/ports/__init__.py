"""The ports: protocols for everything that the engine and the API need from outside.

Their docstrings are the specification: they state what an implementation must guarantee. `stepwell.persistence` and
`stepwell.testing` implement the ports of the database. The tests in `tests/persistence/contract` check these docstrings
on both, and a new implementation must pass them too.
"""
