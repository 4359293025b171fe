"""The memory of one attempt: what its inputs and the answers of its provider may take.

What must hold:
- An input has its memory before its bytes are read. If it never fits, the attempt fails before anything is sent, and
  is not retried.
- An answer may be paid for, so it never fails for lack of memory: it waits. An answer that is larger than one task's
  memory gets all of that, so that few of them are in memory at once.
- The time of the wait counts for none of the attempt's deadlines.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from stepwell.basics.errors import AttemptError, NeverFits
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.runtime.memory import FREE_BYTES, MemoryReservation, WhileWaiting

# A file is in memory as bytes, as base64, as text in a request or an answer, and as the JSON of that.
_COPIES = 4


async def grow_for_inputs(reservation: MemoryReservation, size: int) -> bool:
    """Let the reservation grow, as `MemoryReservation.grow` does. Raises `AttemptError` if that can never fit."""
    try:
        return await reservation.grow(size)
    except NeverFits as error:
        message = f"the inputs of the step are too big: it {error}"
        raise AttemptError(message, retryable=False, provider_fault=False) from error


class AttemptMemory:
    """The memory of one attempt. All of it is in one *reservation*."""

    def __init__(self, reservation: MemoryReservation, control: AttemptControl) -> None:
        self._reservation, self._control = reservation, control
        self._answer = 0

    @contextmanager
    def for_request(self) -> Iterator[None]:
        """Give back what was taken within the context, at its end, but not the last answer.

        The request and its files were sent by then.
        """
        before = self._reservation.held - self._answer
        try:
            yield
        finally:
            self._reservation.shrink(max(self._reservation.held - self._answer - before, 0))

    async def take(self, size: int) -> bool:
        """Take *size* more bytes, once they are free. Return whether that took a wait. Raises `AttemptError`."""
        with self._control.waiting_for_memory(resting=True):
            return await grow_for_inputs(self._reservation, size)

    async def take_file(self, size: int) -> bool:
        """Take memory for the file of an input, as `take` does."""
        return await self.take(size * _COPIES)

    async def take_decoded(self, size: int) -> bool:
        """Take memory for a file that is already there as text. It never fails."""
        await self.take_results(size * _COPIES)
        return False

    async def take_results(self, size: int) -> int:
        """Take memory for stored results of at most *size* bytes together. Return its size. It never fails."""
        with self._control.waiting_for_memory(resting=True):
            return await self._reservation.grow_up_to(size)

    async def take_result(self, size: int, while_waiting: WhileWaiting) -> None:
        """Take memory for an encoded result of *size* bytes. This never fails, because the result may be paid for.

        *while_waiting* is called if there isn't enough now.
        """
        with self._control.waiting_for_memory(resting=False):
            await self._reservation.grow_up_to(size, while_waiting)

    def give_back(self, size: int) -> None:
        self._reservation.shrink(size)

    async def take_answer(self, size: int, while_waiting: WhileWaiting | None = None) -> None:
        """Take memory for an answer of a provider, and give back that of the previous answer.

        *while_waiting* is called if there isn't enough now.
        """
        self._reservation.shrink(self._answer)
        self._answer = 0
        if size <= FREE_BYTES:
            return  # for a token, for example, which other attempts may wait for
        with self._control.waiting_for_memory(resting=False):
            self._answer = await self._reservation.grow_up_to(size * _COPIES, while_waiting)
