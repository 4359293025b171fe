"""Celery: in-process work on the workers of this service, as a remote provider."""
