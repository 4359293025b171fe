"""Processes that are forked from one which has started a service before, so that their own start is quick."""

import os
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["support.processes.warmed_up", __name__])
_TESTS = Path(__file__).parents[2]

Pipe = _CONTEXT.Pipe


class WarmProcess(_CONTEXT.Process):  # type: ignore[name-defined,misc]
    """A process that has imported everything, and has the caches that the start of a service fills.

    Without these, a start takes more than a second of CPU time.
    """

    def start(self) -> None:
        # The first start also starts the process that forks. Before Python 3.13, it doesn't get our `sys.path`.
        path = os.pathsep.join([str(_TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        with patch.dict(os.environ, PYTHONPATH=path):
            super().start()
