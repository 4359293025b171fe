"""The port between an attempt and the clients of providers' APIs: memory for answers, and the storage of one.

An attempt hands it to its provider as `Attempt.answers`.

An answer to a submit may be paid for, and often exists nowhere else. If it must wait for memory, it is stored first. So
if the process ends before the answer is used, the next process uses it and sends nothing again.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from msgspec import Struct


class AnswerHead(Struct, frozen=True):
    """The status and the headers of an answer."""

    status: int
    headers: Mapping[str, str]


class ReceivedAnswer(Struct, frozen=True):
    """An answer that an earlier process has received and stored."""

    head: AnswerHead
    body: bytes


class AnswerRoom(Protocol):
    """The memory of one attempt for answers. Each answer takes the place of the one before."""

    async def make_room(self, size: int) -> None:
        """Wait until an answer of *size* bytes may be read to memory."""

    async def make_room_for_submitted(self, size: int, head: AnswerHead, chunks: AsyncIterator[bytes]) -> None:
        """Make room for the answer to a submit. If it must wait, it is stored: its body is *chunks*.

        Raises `AttemptSuperseded` if the process stops while a stored answer waits.
        """

    def take_stored_answer(self) -> ReceivedAnswer | None:
        """Return the stored answer, and forget it. None if there is none. It takes the place of the next submit."""
