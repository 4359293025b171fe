"""The protocols of what the engine and the API need from the outside.

Their docstrings state what an implementation must guarantee.
"""
