"""When a workflow is blamed for the deaths of its processes."""

import pytest

from stepwell.lifecycle.unclean_ends import failure_after


@pytest.mark.parametrize("deaths", [None, 0, 1, 2])
def test_fewer_than_three_deaths_alone_fail_nobody(deaths: int | None) -> None:
    assert failure_after(deaths) is None


@pytest.mark.parametrize("deaths", [3, 4])
def test_three_deaths_in_a_row_are_the_reason(deaths: int) -> None:
    assert failure_after(deaths) == (
        f"workflow: its process died {deaths} times in a row while this workflow alone was under way"
    )
