"""Stores results that are paid for. A temporary failure of the store doesn't lose a result."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio

from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.tasks import Output
from stepwell.ports.providers import Attempt, AttemptIO

T = TypeVar("T")

# Seconds between attempts, four minutes in total. The engine gives `submit` 900 s, which include the call itself.
PAUSES_S: tuple[float, ...] = (1, 2, 4, 8, 15, 30, 60, 60, 60)
_SPARE_S = 10.0  # left before the caller's deadline
# The extensions of files, by the media types that every provider may have.
EXTENSIONS: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
}


def file_name(number: int, suffix: str) -> str:
    """Return the name of a result's file: result.png for the first (1), then result_2.png ..."""
    return f"result.{suffix}" if number == 1 else f"result_{number}.{suffix}"


def path_fields(field: str, paths: Sequence[str]) -> dict[str, Any]:
    """Return the members of a result about its files. Several are also listed, in the *field* with an "s"."""
    return {field: paths[0], **({f"{field}s": paths} if len(paths) > 1 else {})}


def seed_field(members: Any) -> dict[str, int]:
    """Return the seed among the *members* of an object, as a member of a result; {} without one."""
    seed = members.get("seed") if isinstance(members, Mapping) else None
    return {"seed": seed} if isinstance(seed, int) and not isinstance(seed, bool) else {}


async def retry_store(call: Callable[[], Awaitable[T]]) -> T:
    """Return what *call* returns, which stores a result that exists nowhere else. For use in `submit`.

    While *call* raises errors that a repeat may fix, it is repeated for some minutes. Raises its last error:
    `AttemptError` or `CallFailed`.
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


async def store_from_answer(attempt: Attempt, io: AttemptIO, name: str, data: bytes) -> Output:
    """Store a result that came in the answer of `submit`, with `retry_store`. For use inside `paid_for`.

    If a result can't be stored in the end, it is lost but paid for. Then `on_unknown` of the step says whether to pay
    for another attempt.
    """
    try:
        return await retry_store(lambda: io.store(name, data))
    except AttemptError as error:
        message, again = f"the work is done and paid for, but {error}", attempt.on_unknown == "resubmit"
        raise AttemptError(message, retryable=again, provider_fault=False) from error


async def store_from_job(io: AttemptIO, name: str, data: bytes) -> Output:
    """Store a result in `fetch`. A retryable error becomes `CallFailed`, because the job still has its result."""
    try:
        return await io.store(name, data)
    except AttemptError as error:
        if not error.retryable:
            raise
        raise CallFailed(str(error)) from error
