"""Definitions of workflows for tests, and runs built from them."""
