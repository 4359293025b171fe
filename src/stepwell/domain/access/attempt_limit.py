"""A limit on the failed attempts of each client to sign in.

What must hold:
- A client may fail `BURST` times at once, and then once each `PAUSE_S`. Only failures count, so that clients behind one
  address don't keep each other from signing in.
- At most `MAX_CLIENTS` are remembered. The one whose failure was longest ago is forgotten first.
"""

import math
from typing import Final

BURST: Final = 10
PAUSE_S: Final = 6.0
MAX_CLIENTS: Final = 10_000


class AttemptLimit:
    """The failures of all clients. *now* is in seconds, of a clock that never goes back."""

    def __init__(self, max_clients: int = MAX_CLIENTS) -> None:
        self._max_clients = max_clients
        # By client: the time at which all its failures are made up for. The last to fail is last.
        self._clear_at: dict[str, float] = {}

    def fail(self, client: str, now: float) -> int:
        """Count a failure of *client*, and return 0. If the limit is used up, return the seconds to wait instead."""
        clear_at = max(self._clear_at.pop(client, now), now)
        wait_s = clear_at + PAUSE_S - (now + BURST * PAUSE_S)
        if wait_s <= 0:
            clear_at += PAUSE_S
        self._clear_at[client] = clear_at
        if len(self._clear_at) > self._max_clients:
            del self._clear_at[next(iter(self._clear_at))]
        return max(math.ceil(wait_s), 0)
