"""Bounds what the steps of one workflow store together: the bytes of their results and of their errors.

A single result is at most 1 MiB, but a mapping can copy it into each of a thousand steps, and every response about the
workflow contains them all.

What must hold:
- The results of a workflow are never larger together than its limit, whatever happens to its process: the count is
  that of the stored results when the workflow is loaded, and each result is counted before it is recorded.
- A result that doesn't fit fails its step. It isn't counted, so a smaller one may still fit.
- Whoever has many attempts like that one stops at the first: each of them is paid for.
- Beyond `ERRORS_MAX_BYTES`, errors are cut to their first `_SHORT` characters.
"""

from collections.abc import Iterable
from typing import Final

RESULTS_MAX_BYTES: Final = 64 * 1024 * 1024
ERRORS_MAX_BYTES: Final = 4 * 1024 * 1024
_SHORT = 200


class OutputBudget:
    """Counts the results and errors of a workflow, in bytes. `max_bytes` is the limit of the results together."""

    def __init__(self, result_bytes: int = 0, errors: Iterable[str | None] = ()) -> None:
        self.max_bytes, self.result_bytes = RESULTS_MAX_BYTES, result_bytes
        self._has_refused = False
        self._error_bytes = sum(len(error) for error in errors if error is not None)

    def fits(self, result: bytes) -> bool:
        """Return whether the *result* has room. Count nothing."""
        return self.result_bytes + len(result) <= self.max_bytes

    def add(self, result: bytes) -> str | None:
        """Count the *result*. If it doesn't fit, count nothing, and return the error of its step."""
        if self.result_bytes + len(result) > self.max_bytes:  # hot path: `fits` would cost a call
            self._has_refused = True
            return (
                f"the results of the workflow would be over {self.max_bytes:,} bytes together "
                "(STEPWELL_RESULTS_MAX_BYTES): files belong into artifacts, their paths into results"
            )
        self.result_bytes += len(result)
        return None

    @property
    def is_used_up(self) -> bool:
        """True if no further result fits, or one did not fit."""
        return self._has_refused or self.result_bytes >= self.max_bytes

    def release(self, size: int) -> None:
        """Uncount a result of that *size*, because another one replaces it."""
        self.result_bytes -= size

    def shorten(self, error: str) -> str:
        """Count the *error*, and return it, or its beginning if the errors of the workflow are many already."""
        if self._error_bytes > ERRORS_MAX_BYTES and len(error) > _SHORT:
            error = error[: _SHORT - 1] + "…"
        self._error_bytes += len(error)
        return error
