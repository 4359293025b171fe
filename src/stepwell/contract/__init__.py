"""The API as a client sees it: its enums, and the structs of its requests and responses.

This is the lowest layer. It imports nothing else of Stepwell, so that a client can import it alone.
"""
