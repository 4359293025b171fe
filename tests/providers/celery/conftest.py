"""A Redis for the tests of the result backend."""

from collections.abc import Iterator

import pytest

from support.processes.celery_workers import RedisServer, running_redis


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server
