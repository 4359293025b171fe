"""Results that are paid for and in hand, but couldn't be stored: for a moment's trouble none is thrown away."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from stepwell.contract.tasks import Output
from stepwell.domain.errors import AttemptError, CallFailed
from stepwell.ports.providers import Attempt, AttemptIO

T = TypeVar("T")

# Seconds between two tries, four minutes in all: a submit has 900 s from the engine, its call's own time included.
PAUSES_S: tuple[float, ...] = (1, 2, 4, 8, 15, 30, 60, 60, 60)
_SPARE_S = 10.0  # before a deadline that comes sooner


async def kept(call: Callable[[], Awaitable[T]]) -> T:
    """What *call* returns, which stores a result that can't be had again. For `submit`: while it raises what a repeat
    may mend, it is made again for some minutes. Raises what it has raised in the end: `AttemptError` or `CallFailed`.
    """
    for pause in PAUSES_S:
        try:
            return await call()
        except AttemptError as error:
            if not error.retryable:
                raise
        except CallFailed as error:
            if error.forgotten:
                raise
        if anyio.current_time() + pause + _SPARE_S > anyio.current_effective_deadline():
            break
        await anyio.sleep(pause)
    return await call()


async def stored_of_answer(attempt: Attempt, io: AttemptIO, name: str, data: bytes) -> Output:
    """As `AttemptIO.store`, for `submit`, of what came in its answer alone: see `kept`. What could not be stored in the
    end is lost, but paid for; whether to pay again is for the step to say. To be called inside `paid_for`.
    """
    try:
        return await kept(lambda: io.store(name, data))
    except AttemptError as error:
        again = attempt.on_unknown == "resubmit"
        message = f"the work is done and paid for, but {error}"
        raise AttemptError(message, retryable=again, provider_fault=False) from error


async def stored_of_job(io: AttemptIO, name: str, data: bytes) -> Output:
    """As `AttemptIO.store`, for `fetch`: the job has its result still, so what a repeat may mend is `CallFailed`."""
    try:
        return await io.store(name, data)
    except AttemptError as error:
        if not error.retryable:
            raise
        raise CallFailed(str(error)) from error
