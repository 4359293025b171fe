"""Stepwell: workflows of AI-media tasks, checkpointed to PostgreSQL."""

from importlib.metadata import version

__version__ = version("stepwell")
