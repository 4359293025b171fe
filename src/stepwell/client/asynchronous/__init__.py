"""The asynchronous client, the source of the synchronous one.

`PYTHONPATH=src:tests python -m support.documents.generated_client` writes the package `synchronous` from this one.
"""
