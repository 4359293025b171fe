"""The schedule of webhooks: due times, and lanes that are blocked by a limit."""

from datetime import UTC, datetime, timedelta

from stepwell.engine.webhooks.delivery_schedule import DeliverySchedule

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LATE = NOW + timedelta(hours=20)


def take(schedule: DeliverySchedule, now: datetime = NOW, *full: str) -> list[str]:
    return schedule.take(now, 64, lambda lane: lane if lane in full else None)


def test_outdated_times_take_no_memory() -> None:
    schedule = DeliverySchedule()
    for number in range(1_000):
        now = NOW + timedelta(seconds=number)
        schedule.put("h", now)
        assert take(schedule, now) == ["h"]
        schedule.put("h", LATE)  # its other deliveries wait for their next attempt
        assert schedule.next_due() == LATE
    assert schedule.size < 100
    assert take(schedule, LATE) == ["h"]


def test_each_of_many_lanes_is_taken_at_its_earliest_time() -> None:
    schedule = DeliverySchedule()
    lanes = [f"h{number:03}" for number in range(200)]
    for earlier in range(10):
        for number, lane in enumerate(lanes):
            schedule.put(lane, LATE + timedelta(seconds=number) - timedelta(hours=earlier))
    assert schedule.size <= 2 * len(lanes) + 65
    found = take(schedule, LATE) + take(schedule, LATE) + take(schedule, LATE) + take(schedule, LATE)
    assert (found, schedule.next_due()) == (lanes, None)


def test_lanes_of_one_tenant_wait_until_the_tenant_is_unblocked() -> None:
    schedule = DeliverySchedule()
    schedule.put("a", LATE)
    schedule.put("a", NOW)
    schedule.put("b", NOW)
    schedule.put("c", NOW)
    shared = {"a": "a tenant", "b": "a tenant"}
    assert schedule.take(NOW, 64, shared.get) == ["c"]
    schedule.put("a", LATE)
    assert schedule.next_due() == LATE
    schedule.unblock("b")
    assert take(schedule) == []
    schedule.unblock("a tenant")
    assert take(schedule) == ["a", "b"]
    assert schedule.next_due() is None


def test_a_blocked_lane_waits_until_it_is_unblocked() -> None:
    schedule = DeliverySchedule()
    schedule.put("h", NOW)
    assert take(schedule, NOW, "h") == []
    assert schedule.next_due() is None
    schedule.unblock("h")
    assert take(schedule) == ["h"]
    assert schedule.next_due() is None


def test_unblocking_one_key_checks_only_as_many_lanes_as_are_taken() -> None:
    schedule, checked, full = DeliverySchedule(), list[str](), True
    lanes = [f"h{number:04}" for number in range(1_000)]
    for lane in lanes:
        schedule.put(lane, NOW)

    def blocked_by(lane: str) -> str | None:
        checked.append(lane)
        return "a tenant" if full else None

    assert schedule.take(NOW, 64, blocked_by) == []
    assert len(checked) == 1_000
    for batch in range(3):
        checked.clear()
        schedule.unblock("a tenant")
        full = False
        assert schedule.take(NOW, 2, blocked_by) == lanes[2 * batch : 2 * batch + 2] == checked
        full = True
        assert schedule.take(NOW, 64, blocked_by) == []
        assert len(checked) <= 4
    full = False
    schedule.unblock("a tenant")
    assert schedule.take(NOW, 1_000, blocked_by) == lanes[6:]
    assert (schedule.next_due(), schedule.size) == (None, 0)
