"""Answers that change nothing: explain, plan, dry runs, and the status of providers."""
