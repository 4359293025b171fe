"""The handlers of all operations, and the ASGI app that `all_routes` makes of them."""
