"""The asynchronous client, the source of the synchronous one.

`poe generate` writes the package `synchronous` from this one.
"""
