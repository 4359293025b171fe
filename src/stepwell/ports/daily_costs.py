"""The deletion of the sums of costs of whole days, as a protocol. Checkpoints write them, and the reader reads them."""

from datetime import date
from typing import Protocol

from stepwell.rules.daily_costs import ExpiredCosts


class DailyCosts(Protocol):
    """The sums of costs in the database. All methods raise `Unavailable`."""

    async def expire(self, before: date, most: int) -> ExpiredCosts:
        """Delete up to *most* sums of the days before *before*.

        If it deletes fewer, no others are left, or another process deletes them.
        """
