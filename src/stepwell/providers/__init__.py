"""Who does the work: one package or module per provider, `registry` to find it, `inputs` to fetch what it works on.

Imported by LOCAL's worker processes as well, so nothing is imported here.
"""
