"""How many examples hypothesis draws."""

from hypothesis import settings


def examples(everything: int) -> int:
    """Return the examples of a test for which `pytest --everything` draws so many. The core suite draws 30 % of them.

    100 is what a test without settings of its own draws.
    """
    return everything * settings().max_examples // 100
