"""Short descriptions of the errors that obstore and the operating system raise.

The texts of these errors contain absolute paths, addresses, and the response of S3, which names the key. So they must
not get into other messages, and mostly not into the log.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError


class ObstorePanic(Exception):
    """A panic in the code of obstore, with its text."""


FAULTS = (BaseError, OSError, ObstorePanic)
_OS_ERROR = re.compile(r"(?:\(os error |\bOs \{ code: )(\d+)")
_STATUS = re.compile(r"Server returned (?:non-2xx|error) status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
# Parts of obstore's texts, and what they mean.
_MEANINGS = (
    ("redirect without LOCATION", "the bucket is in another region"),
    ("/latest/api/token", "no key is set, and this machine has none"),
    ("kind: Timeout", "no response in time"),
    ("kind: Connect", "no connection"),
    ("error sending request", "the connection broke"),
)


@contextmanager
def panics_as_exceptions() -> Iterator[None]:
    """Raise obstore's panics as `ObstorePanic`. They aren't subclasses of Exception, so they would end the service."""
    try:
        yield
    except BaseException as error:
        kind = type(error)  # pyo3 exports this class nowhere
        if (kind.__module__, kind.__name__) != ("pyo3_runtime", "PanicException"):
            raise
        raise ObstorePanic(str(error)) from None


def is_full(error: Exception) -> bool:
    """Return whether the disk is full, or the quota exceeded."""
    return _error_number(error) in (errno.ENOSPC, errno.EDQUOT)


def reason(error: Exception) -> str:
    """Return why a call failed, without secrets: the system's words, S3's status and code, or the kind of the error."""
    text = str(error)
    if number := _error_number(error):
        return os.strerror(number)
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        return f"HTTP {status[1]} {code[1]}" if code else f"HTTP {status[1]}"
    kind = "Panic" if isinstance(error, ObstorePanic) else type(error).__name__
    return next((meaning for part, meaning in _MEANINGS if part in text), kind)


def is_missing(error: Exception) -> bool:
    """Return whether the file doesn't exist. False if the bucket doesn't exist, since that says nothing of the file."""
    return isinstance(error, FileNotFoundError) and "<Code>NoSuchBucket</Code>" not in str(error)


def _error_number(error: Exception) -> int | None:
    """Return the errno that *error* carries or quotes; None if there is none."""
    match = _OS_ERROR.search(str(error))
    return int(match[1]) if match else getattr(error, "errno", None)
