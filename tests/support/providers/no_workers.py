"""The part of `AttemptIO` that remote providers don't use."""

from contextlib import AbstractAsyncContextManager

from stepwell.ports.providers import WorkWeight


class NoWorkers:
    """Refuses workers, because nothing here works in this process."""

    def worker(self, weight: WorkWeight) -> AbstractAsyncContextManager[None]:
        raise AssertionError(f"a worker for {weight}")

    def charge(self, cost: float) -> None:
        raise AssertionError(f"a cost of {cost}")
