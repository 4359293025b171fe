"""What obstore and the system raise, told in few words.

Their own texts hold absolute paths, addresses, and what S3 has answered, which names the key: they stay here.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError


class ObstorePanic(Exception):
    """obstore's own code gave up; has the text of its panic."""


FAULTS = (BaseError, OSError, ObstorePanic)
_OS_ERROR = re.compile(r"(?:\(os error |\bOs \{ code: )(\d+)")
_STATUS = re.compile(r"Server returned (?:non-2xx|error) status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
# A word of obstore's text, and what it means.
_MEANINGS = (
    ("redirect without LOCATION", "the bucket is in another region"),
    ("/latest/api/token", "no key is set, and this machine has none"),
    ("kind: Timeout", "no answer in time"),
    ("kind: Connect", "no connection"),
    ("error sending request", "the connection broke"),
)


@contextmanager
def panics_told() -> Iterator[None]:
    """Raises obstore's panics as `ObstorePanic`: they are no Exceptions, so they would end the service."""
    try:
        yield
    except BaseException as error:
        kind = type(error)  # no module has it
        if (kind.__module__, kind.__name__) != ("pyo3_runtime", "PanicException"):
            raise
        raise ObstorePanic(str(error)) from None


def is_full(error: Exception) -> bool:
    """Return whether the disk is full, or the quota exceeded."""
    return _error_number(error) in (errno.ENOSPC, errno.EDQUOT)


def reason(error: Exception) -> str:
    """Why it failed, without anything secret: the system's words, the status and code of S3's answer, or the kind."""
    text = str(error)
    if number := _error_number(error):
        return os.strerror(number)
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        return f"HTTP {status[1]} {code[1]}" if code else f"HTTP {status[1]}"
    return next((meaning for word, meaning in _MEANINGS if word in text), type(error).__name__)


def is_missing(error: Exception) -> bool:
    """Whether there is no such file. Where there is no such bucket, nobody knows."""
    return isinstance(error, FileNotFoundError) and "<Code>NoSuchBucket</Code>" not in str(error)


def is_local(error: Exception) -> bool:
    """Whether the system itself has raised it, so that its text may go into the log."""
    return isinstance(error, OSError) and error.errno is not None


def _error_number(error: Exception) -> int | None:
    """Return the errno that *error* carries or quotes; None if there is none."""
    found = _OS_ERROR.search(str(error))
    return int(found[1]) if found else getattr(error, "errno", None)
