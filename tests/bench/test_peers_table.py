"""What the comparison with the peers prints, and its options, without the peers."""

import json
from pathlib import Path

import pytest

from bench.manual_blocks import paragraph
from bench.peers import QUICK, ROUNDS, SHAPES, options, order
from bench.peers_report import (
    ENGINES,
    OURS,
    Machine,
    PeerRun,
    Shape,
    Spread,
    as_json,
    manual_blocks,
    processor_times,
    ratios,
    readme_blocks,
    spreads,
)

CHAIN, FAN = Shape("chain", 1, 200), Shape("fan", 5, 1_000)
VERSIONS = {"Stepwell": "0.1.0", "DBOS": "3.4.0", "Celery": "5.7.0"}
MACHINE = Machine("2026-12-01", 2, "3.11.9", "15.20", "6.2.14", {"fsync": "on"}, {"temporalio": "1.35.0"})
CONDITIONS = (
    "Medians of 3 (lowest-highest); 2026-12-01, 2 CPUs, Python 3.11.9, PostgreSQL 15.20 by TCP (fsync=on), "
    "Redis 6.2.14, temporalio 1.35.0."
)
COMMITS = (
    "Stepwell takes 0.57 ms for a step of 1 chain of 200, and 0.25 ms for a bare commit of one row on the same "
    "database: 2.3 commits a step."
)
RUNS = [
    *(PeerRun(OURS, CHAIN, rate, 280.0, 0.25) for rate in (1_000.0, 3_000.0, 1_750.0)),
    *(PeerRun("DBOS", CHAIN, rate) for rate in (200.0, 250.0, 230.0)),
    *(PeerRun("Celery", CHAIN, rate) for rate in (350.0, 350.0, 350.0)),
    *(PeerRun(OURS, FAN, 12_000.0, cpu, 0.25) for cpu in (70.0, 75.0, 90.0)),
    *(PeerRun("DBOS", FAN, 300.0) for _ in range(3)),
    *(PeerRun("Celery", FAN, 12_500.0) for _ in range(3)),
]
OTHER_TREE = [PeerRun("../old", CHAIN, 1_500.0, 350.0, 0.25), PeerRun("../old", FAN, 9_000.0, 100.0, 0.25)]


def test_a_spread_is_lowest_median_and_highest_of_the_rounds_whatever_their_order() -> None:
    assert spreads(RUNS)[CHAIN][OURS] == Spread(1_000.0, 1_750.0, 3_000.0)
    assert spreads(RUNS[:2])[CHAIN][OURS].median == 2_000.0


def test_ratios_are_ours_over_theirs_by_the_medians() -> None:
    assert ratios(spreads(RUNS + OTHER_TREE)[CHAIN]) == {"DBOS": 1_750 / 230, "Celery": 5.0}
    assert ratios({"DBOS": Spread(1.0, 1.0, 1.0)}) == {}


def test_the_blocks_of_the_manual_are_the_conditions_and_tables() -> None:
    assert "\n\n".join(manual_blocks(RUNS, VERSIONS, MACHINE)).splitlines() == [
        *paragraph(CONDITIONS).splitlines(),
        "",
        "| steps/s | Stepwell 0.1.0 | DBOS 3.4.0 | Celery 5.7.0 |",
        "| --- | ---: | ---: | ---: |",
        "| 1 chain of 200 | 1,750 (1,000-3,000) | 230 (200-250) | 350 |",
        "| 5 fans of 1,000 | 12,000 | 300 | 12,500 |",
        "",
        "| Stepwell is faster by | DBOS | Celery |",
        "| --- | ---: | ---: |",
        "| 1 chain of 200 | 7.6 | 5.0 |",
        "| 5 fans of 1,000 | 40 | 1.0 |",
        "",
        *paragraph(COMMITS).splitlines(),
        "",
        "| engine | runs in | durable |",
        "| --- | --- | --- |",
        *(f"| {engine} | {' | '.join(ENGINES[engine])} |" for engine in VERSIONS),
    ]


def test_the_readme_has_the_medians() -> None:
    (table,) = readme_blocks(RUNS, VERSIONS)
    assert table.splitlines()[2:] == [
        "| 1 chain of 200 | 1,750 | 230 | 350 |",
        "| 5 fans of 1,000 | 12,000 | 300 | 12,500 |",
    ]


def test_the_processor_time_is_compared_with_that_of_another_tree() -> None:
    assert processor_times(RUNS + OTHER_TREE).splitlines() == [
        "| CPU µs a step | Stepwell | ../old | of ../old |",
        "| --- | ---: | ---: | ---: |",
        "| 1 chain of 200 | 280 | 350 | 0.80 |",
        "| 5 fans of 1,000 | 75 | 100 | 0.75 |",
    ]


def test_without_our_own_rounds_there_are_no_ratios() -> None:
    theirs = [run for run in RUNS if run.engine == "DBOS"]
    blocks = manual_blocks(theirs, {"DBOS": "3.4.0"}, MACHINE)
    assert blocks[1].startswith("| steps/s | DBOS 3.4.0 |")
    assert len(blocks) == 3


def test_the_json_contains_the_figures_of_the_tables() -> None:
    table = json.loads(json.dumps(as_json(RUNS, VERSIONS, MACHINE)))
    assert table["versions"] == VERSIONS
    assert table["machine"]["sdks"] == {"temporalio": "1.35.0"}
    assert [shape["kind"] for shape in table["shapes"]] == ["chain", "fan"]
    assert table["shapes"][1]["steps_per_s"]["DBOS"] == {"lowest": 300.0, "median": 300.0, "highest": 300.0}
    assert table["shapes"][1]["times"]["DBOS"] == 40.0
    assert table["shapes"][1]["cpu_us_per_step"] == {OURS: 75.0}


def test_options_default_to_all_engines_and_shapes() -> None:
    found = options([])
    assert (found.rounds, found.shapes, found.engines, found.json) == (ROUNDS, SHAPES, list(ENGINES), False)


def test_quick_is_one_small_round_by_default() -> None:
    assert (options(["--quick"]).rounds, options(["--quick"]).shapes) == (1, QUICK)
    found = options(["--quick", "--rounds", "2", "--shapes", "chain:50x20", "fan:5x1000", "--engines", "DBOS"])
    assert (found.rounds, found.shapes, found.engines) == (2, [Shape("chain", 50, 20), FAN], ["DBOS"])


@pytest.mark.parametrize(
    "wrong",
    [
        ["--shapes", "ring:1x10"],
        ["--shapes", "chain:0x10"],
        ["--shapes", "chain:10"],
        ["--shapes", "fan:1x3"],
        ["--rounds", "0"],
        ["--engines", "Prefect"],
        ["--against", "nowhere"],
        ["--write", "--quick"],
    ],
    ids=" ".join,
)
def test_an_unknown_option_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        options(wrong)
    assert left.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_another_tree_is_compared_with_ours_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / ".venv" / "bin" / "stepwell"
    program.parent.mkdir(parents=True)
    program.touch()
    assert options(["--against", str(tmp_path)]).against == str(tmp_path)
    with pytest.raises(SystemExit):
        options(["--against", str(tmp_path), "--engines", "DBOS"])
    assert "--against compares with Stepwell" in capsys.readouterr().err


def test_each_engine_is_first_as_often_as_the_others() -> None:
    assert [order(["a", "b", "c"], turn) for turn in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]
