"""Authentication and authorisation of requests: tokens, sessions, signed URLs and tickets."""
