"""Signed URLs of artifacts and callbacks, and tickets of event streams."""
