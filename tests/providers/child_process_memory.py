"""Measures the memory of a child process of LOCAL while it works. This module is imported there."""

from pathlib import Path
from typing import Any

from stepwell.providers.local.preview import PreviewJob, make_preview
from stepwell.providers.local.work import perform


def perform_and_measure(job: dict[str, Any]) -> dict[str, Any]:
    """Do *job* in a child process, and return its outcome, and `peak`: the largest memory in bytes.

    The kernel's mark is reset before, because a process inherits the mark of the one that started it.
    """
    Path("/proc/self/clear_refs").write_text("5")
    outcome = perform(job | {"light_only": False})
    return outcome | {"peak": _peak()}


def make_preview_and_measure(job: PreviewJob) -> dict[str, Any]:
    """Make a preview in a child process, and return the outcome with `peak`, as `perform_and_measure` does."""
    Path("/proc/self/clear_refs").write_text("5")
    outcome = make_preview(job)
    return outcome | {"peak": _peak()}


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")
