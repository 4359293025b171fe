"""Two processes are replaced one after the other, while clients create workflows, change them and read them."""

from pathlib import Path

import pytest

from support.processes.rolling_deploy import deploy_under_load, running_deployment

CLIENTS = 2

pytestmark = pytest.mark.extended


async def test_a_deploy_fails_requests_only_with_503_and_loses_no_workflow(empty: str, folder: Path) -> None:
    async with running_deployment(empty, folder) as deployment:
        codes = await deploy_under_load(deployment, CLIENTS)
        report = deployment.report
    assert codes == [0, 0]
    assert report.failures == []
    assert report.unended == []
    assert report.cut == 0
    assert set(report.statuses) <= {200, 201, 409, 503}
    assert len(report.workflows) > CLIENTS
