"""The garbage collector's thresholds for the processes of Stepwell."""

import gc


def tune_gc() -> None:
    """Let the garbage collector run rarely.

    A full collection blocks the loop while it visits all objects, and one page of long workflows caused several. Small
    collections cost a tenth of a step, and a sixth of the start. Cyclic garbage is mostly young, so rare collections
    suffice.
    """
    gc.set_threshold(10_000, 50, 1_000)
