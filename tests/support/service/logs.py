"""The logs of a process of tests, which one test must not configure for the next."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog


@contextmanager
def restored_logging() -> Iterator[None]:
    """Let the block configure the logs. No logger keeps the configuration: it would last for all later tests."""
    root, configure = logging.getLogger(), structlog.configure
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()

    def configure_for_the_block(**options: object) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", configure_for_the_block)
        yield
    root.handlers[:] = handlers
    root.setLevel(level)
    configure(**config)
