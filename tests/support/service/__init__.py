"""The whole service in the test's own event loop, and what tests do with it over HTTP."""
