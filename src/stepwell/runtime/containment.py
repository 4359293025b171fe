"""Keeps what the code of a provider raises from ending the process."""

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager


class ProviderCrashed(Exception):
    """The code of a provider raised what would end the process, like SystemExit. The cause is the exception's cause."""


@contextmanager
def contained() -> Iterator[None]:
    """Convert what isn't an `Exception`, like SystemExit or the panic of an extension module, to `ProviderCrashed`."""
    try:
        yield
    except (Exception, CancelledError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise ProviderCrashed(type(error).__name__) from error
