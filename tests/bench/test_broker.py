"""The Redis of a benchmark."""

import shutil
from pathlib import Path

import pytest
import redis

from stepwell.bench import celery_worker
from stepwell.bench.celery_worker import NoBroker, redis_server


async def test_a_redis_runs_until_the_end_and_stores_nothing(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as url:
        client = redis.Redis.from_url(url)
        client.set("name", "value")
        assert client.get("name") == b"value"
        assert client.config_get("save") | client.config_get("appendonly") == {"save": "", "appendonly": "no"}
    with pytest.raises(redis.ConnectionError):
        client.ping()
    client.close()


async def test_a_machine_without_a_redis_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(celery_worker, "find_spec", lambda _: None)
    with pytest.raises(NoBroker, match="there is no broker: set STEPWELL_CELERY_BROKER_URL"):
        async with redis_server(tmp_path):
            pass
