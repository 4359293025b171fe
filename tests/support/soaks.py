"""Soaks: runs that take up to hours, with more kills and verbs than others. `STEPWELL_TEST_FULL=1` asks for them."""

import os
from typing import Final

FULL: Final = bool(os.environ.get("STEPWELL_TEST_FULL"))
