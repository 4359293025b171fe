"""The results of a workflow that stay in memory, because a mapping may still read them.

All results are in the database. A workflow may wait for long, and there may be hundreds of each tenant, so only a few
bytes of each stay in memory. An attempt that needs others reads them from the database.

What must hold:
- A result is in memory only while a step that reads it has not completed.
- The results in memory are at most `MAX_BYTES_IN_MEMORY` for each workflow.
"""

from collections.abc import Mapping, Sequence

from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.model import StepState

MAX_BYTES_IN_MEMORY = 64 * 1024


class ResultsInMemory:
    """Decides which of the *steps* have their result in memory. *sources* are the positions that each step reads."""

    def __init__(self, steps: Sequence[StepState], sources: Sequence[Sequence[int]]) -> None:
        self._steps, self._sources = steps, sources
        self._bytes = 0
        self._readers = [0] * len(steps)
        for step, read in zip(steps, sources, strict=True):
            if step.status is not StepStatus.COMPLETED:
                for position in read:
                    self._readers[position] += 1
        for step in steps:
            if step.result is not None:
                self._keep_own(step)

    def complete(self, position: int) -> None:
        """Record that the step is COMPLETED: it reads nothing any more, and its result may be read from now on."""
        for source in self._sources[position]:
            self._readers[source] -= 1
            if not self._readers[source]:
                self._drop(self._steps[source])
        self._keep_own(self._steps[position])

    def to_load(self, stored_bytes: int) -> list[int]:
        """Return the positions whose stored result a mapping may still read, and isn't in memory.

        Returns none if the workflow has more *stored_bytes* of results than memory may keep.
        """
        if stored_bytes > MAX_BYTES_IN_MEMORY:
            return []
        return [step.position for step in self._steps if self._readers[step.position] and self.is_stored_only(step)]

    def is_stored_only(self, step: StepState) -> bool:
        """Return whether the result of the step is in the database, and not in memory."""
        return step.status is StepStatus.COMPLETED and step.result is None

    def put(self, results: Mapping[int, bytes]) -> None:
        """Keep these stored results, by position, as far as a mapping may read them and there is room."""
        for position, result in results.items():
            self._keep(self._steps[position], result)

    def _keep_own(self, step: StepState) -> None:
        result, step.result = step.result, None
        if result is not None:
            self._keep(step, result)

    def _keep(self, step: StepState, result: bytes) -> None:
        if step.result is None and self._readers[step.position] and self._bytes + len(result) <= MAX_BYTES_IN_MEMORY:
            step.result = result
            self._bytes += len(result)

    def _drop(self, step: StepState) -> None:
        if step.result is not None:
            self._bytes -= len(step.result)
            step.result = None
