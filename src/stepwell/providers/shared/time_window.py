"""The window of time in which `reconcile` looks for a job.

A provider's clock may date a job up to `BEFORE` earlier or `AFTER` later than this service did in `Sent.at`.
"""

from datetime import timedelta

BEFORE = timedelta(seconds=60)
AFTER = timedelta(minutes=15)
