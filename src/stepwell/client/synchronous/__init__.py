"""The synchronous client. It is generated from the asynchronous one: don't change it."""
