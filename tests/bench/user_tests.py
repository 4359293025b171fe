"""How long tests of a user's project take on the fixtures of `stepwell.testing`.

    PYTHONPATH=tests python tests/bench/user_tests.py [memory|postgres]

Each test creates a workflow of one step at a scripted provider, waits for its end, and finds it in the list of its
tenant. Prints the seconds of the first test, with the start of the session, and those of the further ones: wall time,
and the time of the CPU, which other processes of the machine change less.
"""

import re
import sys
from pathlib import Path
from statistics import mean, median

from stepwell.testing.folders import fresh_folder
from support.processes.pytest_process import run_pytest

TESTS = 40
FIRST_S, FURTHER_S = 6.0, 0.05
CONFTEST = """
import time
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    wall, cpu = time.perf_counter(), time.process_time()
    result = yield
    with open("times", "a") as file:
        print(time.perf_counter() - wall, time.process_time() - cpu, file=file)
    return result
"""
PROJECT = """
import pytest
from stepwell.testing import png

DEFINITION = {
    "name": "a test",
    "origin_instance": "bench",
    "steps": [{
        "id": "draw",
        "task_type": "GENERATION",
        "config": {"prompt": "a boat"},
        "provider_config": {"provider_type": "FAL", "fal_app_id": "fal-ai/flux/dev"},
    }],
}

@pytest.mark.parametrize("number", range(NUMBER))
async def test_a_workflow(stepwell_app, stepwell_client, number):
    stepwell_app.providers.fal.on("GENERATION").returns({"result_image_path": png()}, cost="0.04")
    workflow = await stepwell_client.create(DEFINITION, wait=10)
    assert workflow.status == "COMPLETED"
    assert [each.id async for each in stepwell_client.list()] == [workflow.id]
"""
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nstepwell_database = {}\n"


def measure(folder: Path, database: str) -> list[tuple[float, float]]:
    """Run the tests in *folder*. Return wall and CPU seconds of each."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_bench.py").write_text(PROJECT.replace("NUMBER", str(TESTS)))
    (folder / "pytest.ini").write_text(INI.format(database))
    result = run_pytest(folder)
    assert re.search(rf"\b{TESTS} passed", result.stdout), result.stdout + result.stderr
    lines = (folder / "times").read_text().splitlines()
    return [(float(wall), float(cpu)) for wall, cpu in (line.split() for line in lines)]


def main() -> None:
    database = sys.argv[1] if len(sys.argv) > 1 else "memory"
    with fresh_folder() as folder:
        (first_wall, first_cpu), *further = measure(folder, database)
    walls, cpus = [wall for wall, _ in further], [cpu for _, cpu in further]
    print(f"database: {database}, {TESTS} tests")
    print(f"first test: {first_wall:.2f} s, CPU {first_cpu:.2f} s (target: {FIRST_S:g} s)")
    print(
        f"further tests: median {median(walls) * 1e3:.0f} ms, mean {mean(walls) * 1e3:.0f} ms, "
        f"CPU {mean(cpus) * 1e3:.0f} ms (target: {FURTHER_S * 1e3:g} ms)"
    )


if __name__ == "__main__":
    main()
