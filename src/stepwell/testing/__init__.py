"""What tests of workflows need instead of a database and of real time.

`ManualClock` is a clock that a test moves: a retry that is due in an hour is made at once after
`clock.advance(3600)`.
"""

from stepwell.testing.manual_clock import ManualClock

__all__ = ["ManualClock"]
