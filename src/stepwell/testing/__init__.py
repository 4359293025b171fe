"""A database in memory and a manual clock, for tests of workflows without PostgreSQL and without waiting.

`MemoryDatabase` stores everything that the service stores in PostgreSQL, in the test's own process. The tests in
`tests/persistence/contract` run against both, so that a workflow does the same on either. `ManualClock` is a clock that
a test moves: after `clock.advance(3600)`, a retry that is due in an hour starts at once.

    clock = ManualClock()
    database = MemoryDatabase(clock)
    settings = Settings(data_dir=folder, jwt_secret=secret, default_provider=ProviderType.LOCAL)
    async with running_app(settings, source=database, url_secret=key, exclusive=True) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app.api), base_url="http://test") as client:
            ...
            clock.advance(3600)

The clock drives everything that the workflow or the service does at a later time: retries, the workflow's timeout, rate
limits, circuit breakers, leases and the attempts at webhooks. A step's own `timeout_s`, and the intervals at which
providers are polled, pass in real time.
"""

from stepwell.testing.manual_clock import ManualClock
from stepwell.testing.memory_database import MemoryDatabase

__all__ = ["ManualClock", "MemoryDatabase"]
