"""The port between an attempt and the clients of providers' APIs: room in memory for an answer, and its storage.

An answer to a submit may be paid for, and often exists nowhere else. If it must wait for memory, it is stored first. So
if the process ends before the answer is used, the next process uses it and sends nothing again.
"""

from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Final, Protocol

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
        """Make room for the answer to a submit, which is stored from *chunks* if it must wait.

        Raises `AttemptSuperseded` if the process stops while a stored answer waits.
        """

    def take_stored_answer(self) -> ReceivedAnswer | None:
        """Return the answer to use in place of the next submit, once; None if there is none, so that it is sent."""


answer_room: Final[ContextVar[AnswerRoom | None]] = ContextVar("answer_room", default=None)
"""The room for the answers of the attempt that is running. The clients of providers' APIs use it.

Whoever holds a lock that other attempts wait for sets it to None: they may hold the memory that it would wait for.
"""
