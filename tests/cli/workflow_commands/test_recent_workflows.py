"""The ids that commands have shown: bounded, private, and safe against damage and other commands."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from stepwell.cli.user_files import locked_folder
from stepwell.cli.workflow_commands.recent_workflows import RecentWorkflows

URL = "http://127.0.0.1:9000"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "stepwell/workflows.json"


def test_ids_are_stored_by_service_those_shown_last_first(path: Path) -> None:
    first, second, third, elsewhere = (uuid4() for _ in range(4))
    RecentWorkflows().add(URL, [first, second])
    RecentWorkflows().add("http://other", [elsewhere], submitted=elsewhere)
    RecentWorkflows().add(URL, [third, first], submitted=third)
    assert RecentWorkflows().recent_ids(URL) == [third, first, second]
    assert RecentWorkflows().recent_ids() == [third, first, elsewhere, second]
    assert [RecentWorkflows().last_submitted(url) for url in (URL, "http://other", "x")] == [third, elsewhere, None]
    assert path.stat().st_mode & 0o777 == 0o600


def test_at_most_a_thousand_ids_and_fifty_services_are_stored(path: Path) -> None:
    ids = [uuid4() for _ in range(1_500)]
    RecentWorkflows().add(URL, ids)
    assert RecentWorkflows().recent_ids(URL) == ids[:1_000]
    for number in range(60):
        RecentWorkflows().add(f"http://{number}", [], submitted=ids[number])
    assert [RecentWorkflows().last_submitted(f"http://{n}") for n in (9, 10, 59)] == [None, ids[10], ids[59]]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"shown": [["x", "y"]]}', b"\xff\xfe", b"\0" * 2_000_000])
def test_a_damaged_file_counts_as_empty_and_is_replaced(content: bytes, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert RecentWorkflows().recent_ids() == []
    workflow_id = uuid4()
    RecentWorkflows().add(URL, [workflow_id])
    assert RecentWorkflows().recent_ids() == [workflow_id]


def test_a_folder_that_cannot_be_written_is_no_error(path: Path) -> None:
    path.parent.write_text("a file")
    RecentWorkflows().add(URL, [uuid4()])
    assert RecentWorkflows().recent_ids() == []


def test_commands_at_the_same_time_lose_no_id(path: Path) -> None:
    ids = [uuid4() for _ in range(100)]

    def add(workflow_id: UUID) -> None:
        RecentWorkflows().add(URL, [workflow_id])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, ids))
    assert set(RecentWorkflows().recent_ids(URL)) == set(ids)
    assert [each.name for each in path.parent.iterdir()] == ["workflows.json"]


def test_a_lock_that_another_command_never_releases_is_an_error(path: Path) -> None:
    with (
        locked_folder(path.parent),
        pytest.raises(OSError, match="another command holds the lock"),
        locked_folder(path.parent, within_s=0.05),
    ):
        pass
