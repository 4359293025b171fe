"""The providers: one package each. `factory` builds them, `registry` finds them, `shared` is their common code.

LOCAL's worker processes import this package as well, so nothing is imported here.
"""
