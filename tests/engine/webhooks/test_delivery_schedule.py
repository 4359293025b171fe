"""What is due when, and what waits for something else than time."""

from datetime import UTC, datetime, timedelta

from stepwell.engine.webhooks.delivery_schedule import DeliverySchedule

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LATE = NOW + timedelta(hours=20)


def take(agenda: DeliverySchedule, now: datetime = NOW, *full: str) -> list[str]:
    return agenda.take(now, 64, lambda lane: lane if lane in full else None)


def test_moments_out_of_date_take_no_memory() -> None:
    agenda = DeliverySchedule()
    for number in range(1_000):
        now = NOW + timedelta(seconds=number)
        agenda.put("h", now)
        assert take(agenda, now) == ["h"]
        agenda.put("h", LATE)  # the first of its others, which wait for their next try
        assert agenda.next() == LATE
    assert len(agenda._due._order) < 100
    assert take(agenda, LATE) == ["h"]


def test_none_of_many_gets_lost_among_them() -> None:
    agenda = DeliverySchedule()
    lanes = [f"h{number:03}" for number in range(200)]
    for earlier in range(10):
        for number, lane in enumerate(lanes):
            agenda.put(lane, LATE + timedelta(seconds=number) - timedelta(hours=earlier))
    assert len(agenda._due._order) <= 2 * len(lanes) + 65
    found = take(agenda, LATE) + take(agenda, LATE) + take(agenda, LATE) + take(agenda, LATE)
    assert (found, agenda.next()) == (lanes, None)


def test_lanes_wait_for_what_they_share() -> None:
    agenda = DeliverySchedule()
    agenda.put("a", LATE)
    agenda.put("a", NOW)
    agenda.put("b", NOW)
    agenda.put("c", NOW)
    shared = {"a": "a tenant", "b": "a tenant"}
    assert agenda.take(NOW, 64, shared.get) == ["c"]
    agenda.put("a", LATE)
    assert agenda.next() == LATE
    agenda.free("b")
    assert take(agenda) == []
    agenda.free("a tenant")
    assert take(agenda) == ["a", "b"]
    assert agenda.next() is None


def test_a_full_lane_waits_until_it_is_free() -> None:
    agenda = DeliverySchedule()
    agenda.put("h", NOW)
    assert take(agenda, NOW, "h") == []
    assert agenda.next() is None
    agenda.free("h")
    assert take(agenda) == ["h"]
    assert agenda.next() is None


def test_of_thousands_that_wait_for_one_thing_no_more_are_looked_at_than_are_taken() -> None:
    agenda, asked, full = DeliverySchedule(), list[str](), True
    lanes = [f"h{number:04}" for number in range(1_000)]
    for lane in lanes:
        agenda.put(lane, NOW)

    def waits_for(lane: str) -> str | None:
        asked.append(lane)
        return "a tenant" if full else None

    assert agenda.take(NOW, 64, waits_for) == []
    assert len(asked) == 1_000
    for freed in range(3):
        asked.clear()
        agenda.free("a tenant")
        full = False
        assert agenda.take(NOW, 2, waits_for) == lanes[2 * freed : 2 * freed + 2] == asked
        full = True
        assert agenda.take(NOW, 64, waits_for) == []
        assert len(asked) <= 4
    full = False
    agenda.free("a tenant")
    assert agenda.take(NOW, 1_000, waits_for) == lanes[6:]
    assert (agenda.next(), agenda._held, agenda._freed) == (None, {}, {})
