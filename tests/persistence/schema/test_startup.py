"""What is said of a database that doesn't respond."""

import errno
import socket

import pytest

from stepwell.persistence.schema.startup import DatabaseRefused, reach_database


class Waiting(Exception):
    """Ends the wait, with the reason for it."""


def end_waiting(why: str) -> None:
    raise Waiting(why)


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize(("timeout_s", "end"), [(60, Waiting), (-1, DatabaseRefused)])
async def test_a_database_without_a_response_is_named_by_its_host_and_not_its_password(
    hosts: int, timeout_s: float, end: type[Exception]
) -> None:
    with socket.socket() as bound:  # and not listened at
        bound.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{bound.getsockname()[1]}"
        dsn = f"postgresql://someone:canary@{','.join([place] * hosts)}/stepwell"
        with pytest.raises(end) as ended:
            await reach_database(dsn, timeout_s=timeout_s, waiting=end_waiting)
    where = f" at {place}" if hosts == 1 else ""
    assert str(ended.value).startswith(f"the database{where} doesn't respond: [Errno {errno.ECONNREFUSED}] ")
    assert "canary" not in str(ended.value)
