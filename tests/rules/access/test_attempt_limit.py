"""How often a client may fail to sign in."""

from stepwell.rules.access.attempt_limit import BURST, MAX_CLIENTS, PAUSE_S, AttemptLimit


def test_a_client_may_fail_ten_times_at_once_and_then_every_six_seconds() -> None:
    limit = AttemptLimit()
    assert [limit.count("a", 100.0) for _ in range(BURST)] == [0] * BURST
    assert limit.count("a", 100.0) == 6
    assert limit.count("a", 104.5) == 2
    assert limit.count("b", 104.5) == 0
    assert limit.count("a", 106.0) == 0
    assert limit.count("a", 106.0) == 6
    later = 106.0 + BURST * PAUSE_S
    assert [limit.count("a", later) for _ in range(BURST + 1)] == [0] * BURST + [6]


def test_failures_above_the_limit_do_not_make_the_wait_longer() -> None:
    limit = AttemptLimit()
    for _ in range(1_000):
        limit.count("a", 0.0)
    assert limit.count("a", PAUSE_S) == 0


def test_the_client_whose_failure_was_longest_ago_is_forgotten_first() -> None:
    limit = AttemptLimit(max_clients=2)
    for client in ("a", "b", "a"):
        for _ in range(BURST):
            limit.count(client, 0.0)
    limit.count("c", 0.0)
    assert limit.count("a", 0.0) > 0
    assert limit.count("b", 0.0) == 0
    assert MAX_CLIENTS == 10_000
