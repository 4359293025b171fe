"""A limit on the attempts of each client: those to sign in that fail, and the uses of decision links.

What must hold:
- A client may make *burst* attempts at once, and then one each *pause_s*. Of sign-ins only failures count, so that
  clients behind one address don't keep each other from signing in.
- At most `MAX_CLIENTS` are remembered. The one whose failure was longest ago is forgotten first.
"""

import math
from typing import Final

BURST: Final = 10
PAUSE_S: Final = 6.0
MAX_CLIENTS: Final = 10_000


class AttemptLimit:
    """The attempts of all clients. *now* is in seconds, of a clock that never goes back."""

    def __init__(self, max_clients: int = MAX_CLIENTS, burst: int = BURST, pause_s: float = PAUSE_S) -> None:
        self._max_clients, self._burst, self._pause_s = max_clients, burst, pause_s
        # By client: the time at which all its failures are made up for. The last to fail is last.
        self._clear_at: dict[str, float] = {}

    def count(self, client: str, now: float) -> int:
        """Count an attempt of *client*, and return 0. If the limit is used up, return the seconds to wait instead."""
        clear_at = max(self._clear_at.pop(client, now), now)
        wait_s = clear_at + self._pause_s - (now + self._burst * self._pause_s)
        if wait_s <= 0:
            clear_at += self._pause_s
        self._clear_at[client] = clear_at
        if len(self._clear_at) > self._max_clients:
            del self._clear_at[next(iter(self._clear_at))]
        return max(math.ceil(wait_s), 0)
