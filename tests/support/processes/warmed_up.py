"""Imported by the process that `WarmProcess` forks from: imports what its children need, and fills their caches."""

import gc

import uvicorn  # noqa: F401 - for `Killable`

from support.processes.killed_flow import load
from support.service.conformance import conformance

load()
conformance()
gc.collect()
gc.freeze()  # so that children don't copy the pages of what never becomes garbage
