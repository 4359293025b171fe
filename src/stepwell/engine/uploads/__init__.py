"""Uploads: files that users send, from the bytes that arrive to the deletion when nobody needs them any more."""
