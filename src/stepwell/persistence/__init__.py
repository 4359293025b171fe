"""Everything that knows PostgreSQL: the statements, the rows as they lie in the tables, and the embedded server.

Nothing outside this package writes SQL, and only the composition root imports it; the rest of the service sees what
`stepwell.ports` and the engine declare.
"""
