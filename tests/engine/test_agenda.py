"""What is due when, and what waits for something else than time."""

from datetime import UTC, datetime, timedelta

from stepwell.engine.agenda import Agenda

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LATE = NOW + timedelta(hours=20)


def take(agenda: Agenda, now: datetime = NOW, *full: str) -> list[str]:
    return agenda.take(now, 64, full.__contains__)


def test_moments_out_of_date_take_no_memory() -> None:
    agenda = Agenda()
    for number in range(1_000):
        now = NOW + timedelta(seconds=number)
        agenda.put("h", now)
        assert take(agenda, now) == ["h"]
        agenda.put("h", LATE)  # the first of its others, which wait for their next try
        assert agenda.next() == LATE
    assert len(agenda._order) < 100
    assert take(agenda, LATE) == ["h"]


def test_none_of_many_gets_lost_among_them() -> None:
    agenda = Agenda()
    hosts = [f"h{number:03}" for number in range(200)]
    for earlier in range(10):
        for number, host in enumerate(hosts):
            agenda.put(host, LATE + timedelta(seconds=number) - timedelta(hours=earlier))
    assert len(agenda._order) <= 2 * len(hosts) + 65
    found = take(agenda, LATE) + take(agenda, LATE) + take(agenda, LATE) + take(agenda, LATE)
    assert (found, agenda.next()) == (hosts, None)


def test_what_is_held_holds_up_nothing_else_of_its_host() -> None:
    agenda = Agenda()
    agenda.hold("h", NOW, "a tenant")
    assert agenda.next() is None
    agenda.put("h", NOW + timedelta(seconds=1))
    assert take(agenda) == []
    assert take(agenda, LATE) == ["h"]
    agenda.free("a tenant")
    assert agenda.next() == NOW
    assert take(agenda) == ["h"]


def test_a_full_host_waits_until_it_is_free() -> None:
    agenda = Agenda()
    agenda.put("h", NOW)
    assert take(agenda, NOW, "h") == []
    assert agenda.next() is None
    agenda.free("h")
    assert take(agenda) == ["h"]
    assert agenda.next() is None
