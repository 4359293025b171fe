"""Samples of costly tests. `STEPWELL_TEST_FULL=1` runs all of them.

A sample depends on the day and on the version of Python, so the two runs of CI draw different ones, and days in a row
cover everything. `TEST_DAY`, in days since 1970, repeats the sample of another day.
"""

import os
import random
import sys
import time
from collections.abc import Iterable
from typing import Final, TypeVar

from support.soaks import FULL

# The workers of pytest-xdist inherit it. They must collect the same tests, around midnight too.
DAY: Final = os.environ.setdefault("TEST_DAY", str(int(time.time() // 86_400)))

Row = TypeVar("Row")
Option = TypeVar("Option")


def daily_choices(rows: Iterable[Row], options: Iterable[Option]) -> list[tuple[Row, Option]]:
    """Return each of the rows with one of the options, or with each of them if `FULL`."""
    every, chance = list(options), random.Random(f"{DAY} {sys.version_info.minor}")
    return [(row, option) for row in rows for option in (every if FULL else [chance.choice(every)])]


def daily_sample(rows: Iterable[Row], count: int) -> list[Row]:
    """Return *count* of the rows in their order, or all of them if `FULL`."""
    every = list(rows)
    if FULL:
        return every
    chosen = random.Random(f"{DAY} {sys.version_info.minor}").sample(range(len(every)), count)
    return [every[number] for number in sorted(chosen)]
