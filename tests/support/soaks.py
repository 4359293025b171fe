"""Soaks: runs of hours, with more kills, verbs and seeds than other runs have. `STEPWELL_TEST_FULL=1` asks for them."""

import os
from typing import Final

FULL: Final = bool(os.environ.get("STEPWELL_TEST_FULL"))
