"""What the comparison with the peers says and how it is asked, without the peers."""

import json

import pytest

from bench.peers import QUICK, ROUNDS, SHAPES, options, order
from bench.peers_report import ENGINES, OURS, Machine, Shape, Spread, Turn, as_json, markdown, ratios, spreads

CHAIN, FAN = Shape("chain", 1, 100), Shape("fan", 5, 1_000)
VERSIONS = {"Stepwell": "0.1.0", "DBOS": "3.4.0", "Celery": "5.7.0"}
MACHINE = Machine(2, "3.11.9", "18.6", "6.2.14", 0.25, {"fsync": "on"})
CIRCUMSTANCES = (
    "Medians of 3 (lowest-highest); 2 CPUs, Python 3.11.9, PostgreSQL 18.6 (fsync=on; a bare one-row commit takes "
    "0.25 ms), Redis 6.2.14."
)
TURNS = [
    *(Turn(OURS, CHAIN, rate) for rate in (1_000.0, 3_000.0, 1_750.0)),
    *(Turn("DBOS", CHAIN, rate) for rate in (200.0, 250.0, 230.0)),
    *(Turn("Celery", CHAIN, rate) for rate in (350.0, 350.0, 350.0)),
    *(Turn(OURS, FAN, 12_000.0) for _ in range(3)),
    *(Turn("DBOS", FAN, 300.0) for _ in range(3)),
    *(Turn("Celery", FAN, 12_500.0) for _ in range(3)),
]


def test_a_spread_is_lowest_median_and_highest_of_the_rounds_whatever_their_order() -> None:
    assert spreads(TURNS)[CHAIN][OURS] == Spread(1_000.0, 1_750.0, 3_000.0)
    assert spreads(TURNS[:2])[CHAIN][OURS].median == 2_000.0


def test_ratios_are_ours_over_theirs_by_the_medians() -> None:
    assert ratios(spreads(TURNS)[CHAIN]) == {"DBOS": 1_750 / 230, "Celery": 5.0}
    assert ratios({"DBOS": Spread(1.0, 1.0, 1.0)}) == {}


def test_the_tables_are_markdown() -> None:
    assert markdown(TURNS, VERSIONS, MACHINE).splitlines() == [
        CIRCUMSTANCES,
        "",
        "| steps/s | Stepwell 0.1.0 | DBOS 3.4.0 | Celery 5.7.0 | times DBOS | times Celery |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| 1 chain of 100 | 1,750 (1,000-3,000) | 230 (200-250) | 350 | 7.6 | 5.0 |",
        "| 5 fans of 1,000 | 12,000 | 300 | 12,500 | 40 | 1.0 |",
        "",
        "| engine | runs in | durable |",
        "| --- | --- | --- |",
        *(f"| {engine} | {place} | {kept} |" for engine, (place, kept) in ENGINES.items()),
    ]


def test_without_our_own_rounds_there_are_no_ratios() -> None:
    theirs = [turn for turn in TURNS if turn.engine == "DBOS"]
    table = markdown(theirs, {"DBOS": "3.4.0"}, MACHINE)
    assert "| steps/s | DBOS 3.4.0 |" in table
    assert "times" not in table


def test_the_json_contains_the_figures_of_the_tables() -> None:
    table = json.loads(json.dumps(as_json(TURNS, VERSIONS, MACHINE)))
    assert table["versions"] == VERSIONS
    assert table["machine"]["commit_ms"] == 0.25
    assert [shape["kind"] for shape in table["shapes"]] == ["chain", "fan"]
    assert table["shapes"][1]["steps_per_s"]["DBOS"] == {"lowest": 300.0, "median": 300.0, "highest": 300.0}
    assert table["shapes"][1]["times"]["DBOS"] == 40.0


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
    ],
    ids=" ".join,
)
def test_an_unknown_option_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        options(wrong)
    assert left.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_each_engine_is_first_as_often_as_the_others() -> None:
    assert [order(["a", "b", "c"], turn) for turn in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]
