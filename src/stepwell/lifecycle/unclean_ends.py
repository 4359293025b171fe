"""The rule for processes that die again and again: which workflow is the cause?

A process ends uncleanly if it dies while an attempt is under way. After `UNCLEAN_ENDS` of these ends within ten
minutes, a process admits the workflows that had an attempt under way one at a time: each has a trial. Meanwhile all
other workflows wait for admission.

What must hold:
- A workflow fails only after `DEATHS_ALONE` deaths in a row during its trials, while it alone was under way, and
  without a checkpoint in between that records one of its attempts. Checkpoints that only record a verb don't count.
- Kills by an operator at random moments fail nobody. Therefore no trial begins before the process has lived for
  `CALM_S`, and a death before that breaks the row: the workflow wasn't under way, so something else is the cause.
"""

from typing import Final

UNCLEAN_ENDS: Final = 3
DEATHS_ALONE: Final = 3
CALM_S: Final = 5.0
TRIAL_S: Final = 20.0
TRIALS_S: Final = 60.0  # for all trials of a process; after that, the workflows without a trial are claimed together


def failure_after(deaths: int | None) -> str | None:
    """Return why a workflow fails after so many deaths in a row during its trial; None if it may be tried again."""
    if deaths is None or deaths < DEATHS_ALONE:
        return None
    return f"workflow: its process died {deaths} times in a row while this workflow alone was under way"
