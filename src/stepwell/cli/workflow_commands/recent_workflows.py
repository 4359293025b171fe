"""The ids of workflows that the command line has shown lately, in a file in the user's state folder.

The file is a help, and no more: commands work without it. If it can't be read or written, or is damaged, it counts as
empty. Commands that run at the same time change it one after the other.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec import DecodeError, Struct, json

from stepwell.cli.user_files import locked_folder, read_bounded, state_folder, write_private

LAST: Final = "@last"
SHORT: Final = 8  # the characters of a short id, which are random
_MAX_IDS = 1_000
_MAX_SERVICES = 50


def short_id(workflow_id: UUID) -> str:
    """Return the end of an id, which commands print and accept instead of the whole id."""
    return str(workflow_id)[-SHORT:]


class _State(Struct):
    """`shown` are addresses of services with ids of workflows, those shown last first. `submitted` is the workflow
    that was last submitted to each service.
    """

    shown: list[tuple[str, UUID]] = []
    submitted: dict[str, UUID] = {}


class RecentWorkflows:
    """The ids that commands of this user have shown, by the address of the service."""

    def __init__(self) -> None:
        self._path: Path | None = None
        with suppress(RuntimeError):  # a user without a home
            self._path = state_folder(os.environ) / "workflows.json"

    def recent_ids(self, url: str | None = None) -> list[UUID]:
        """Return the ids shown of the service at *url*, or of all services, those shown last first."""
        return [workflow_id for address, workflow_id in self._read().shown if url in (None, address)]

    def last_submitted(self, url: str) -> UUID | None:
        return self._read().submitted.get(url)

    def add(self, url: str, ids: Iterable[UUID], *, submitted: UUID | None = None) -> None:
        """Add *ids*, shown of the service at *url*, the most important one first; and the workflow just *submitted*."""
        new = [(url, workflow_id) for workflow_id in ids]
        if self._path is None or not (new or submitted):
            return
        with suppress(OSError), locked_folder(self._path.parent):
            state = self._read()
            shown = list(dict.fromkeys([*new, *state.shown]))[:_MAX_IDS]
            latest = state.submitted
            if submitted is not None:
                others = [(address, each) for address, each in latest.items() if address != url]
                latest = dict([*others[1 - _MAX_SERVICES :], (url, submitted)])
            write_private(self._path, json.encode(_State(shown, latest)))

    def _read(self) -> _State:
        if self._path is not None:
            with suppress(OSError, DecodeError, UnicodeDecodeError):
                return json.decode(read_bounded(self._path), type=_State)
        return _State()
