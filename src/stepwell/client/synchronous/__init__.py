# Generated from the asynchronous client by `poe generate`: don't change it.
"""The synchronous client, which is generated from the asynchronous one."""
