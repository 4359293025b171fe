"""What `stepwell bench` runs, and the arithmetic of what it says."""

import math
from collections.abc import Iterator

import pytest
from msgspec import json
from msgspec.structs import replace

from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.bench.loads import Load, Shape, Work, dependencies, image_task
from stepwell.bench.measurements import Counts, Measurements, Report, of_all_processes, percentile, report_of
from stepwell.definition.mapping.input_mapping import effective_config
from stepwell.persistence.benchmark import Times, Written
from stepwell.providers.local.sizes import image_size
from support.workflows.definitions import validate

SIZES = [1, 2, 3, 4, 10, 100, 1_000]
SINGLE = [Shape.CHAIN, Shape.FAN, Shape.LAYERED]
COUNTS = Counts(wall_s=2.0, cpu_s=0.5, statements=1_300.0, batches=1_200.0, transitions=10_800.0)
LOAD = Load(Shape.FAN, workflows=5, steps=1_000, concurrency=5)
TIMES = Times(step_p50_s=0.0123456, step_p95_s=0.2, workflow_p50_s=1.23456, workflow_p99_s=0.1)
WRITTEN = Written(wal_bytes=10_000_000, stored_bytes=7_500_000)


def levels(graph: list[list[int]]) -> list[int]:
    """How far each step is from a root, by its longest way."""
    found: list[int] = []
    for above in graph:
        found.append(1 + max((found[d] for d in above), default=-1))
    return found


def test_a_chain_is_one_after_the_other() -> None:
    assert dependencies(Shape.CHAIN, 4, seed=0) == [[], [0], [1], [2]]


def test_a_fan_is_one_then_all_but_two_then_one() -> None:
    assert dependencies(Shape.FAN, 6, seed=0) == [[], [0], [0], [0], [0], [1, 2, 3, 4]]


@pytest.mark.parametrize("shape", SINGLE)
def test_the_smallest_workflow_of_a_shape_is_one_step(shape: Shape) -> None:
    assert dependencies(shape, 1, seed=0) == [[]]
    chain = dependencies(Shape.CHAIN, 3, seed=0)
    if shape is Shape.FAN:
        assert dependencies(shape, 2, seed=0) == [[], [0]]
        assert dependencies(shape, 3, seed=0) == chain
    elif shape is Shape.LAYERED:  # as wide as high: one layer of one each, of two, and of two again
        assert dependencies(shape, 2, seed=0) == [[], [0]]
        assert dependencies(shape, 3, seed=0)[:2] == [[], []]
        assert dependencies(shape, 3, seed=0)[2] in ([0], [1], [0, 1])


@pytest.mark.parametrize("steps", SIZES)
@pytest.mark.parametrize("shape", SINGLE)
def test_every_step_depends_on_earlier_ones_only(shape: Shape, steps: int) -> None:
    graph = dependencies(shape, steps, seed=7)
    assert len(graph) == steps
    assert graph[0] == []
    for position, above in enumerate(graph):
        assert all(0 <= dependency < position for dependency in above)
        assert above == sorted(set(above))


@pytest.mark.parametrize("steps", SIZES)
def test_a_layered_step_depends_on_one_to_three_of_the_layer_above(steps: int) -> None:
    graph, width = dependencies(Shape.LAYERED, steps, seed=3), round(steps**0.5)
    layers = [position // width for position in range(steps)]
    assert levels(graph) == layers
    for position, above in enumerate(graph):
        assert {layers[dependency] for dependency in above} == ({layers[position] - 1} if layers[position] else set())
        assert len(above) <= min(3, width)
    if steps >= 100:
        assert {len(above) for above in graph} == {0, 1, 2, 3}
        assert max(layers) == steps // width - 1 + bool(steps % width)


def test_layered_graphs_are_the_same_each_time_and_differ_by_number() -> None:
    first, again, other = (dependencies(Shape.LAYERED, 100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_mixture_has_no_graph_of_its_own() -> None:
    with pytest.raises(ValueError, match="other shapes"):
        dependencies(Shape.MIXED, 3, seed=0)


def bodies_of(shape: Shape, workflows: int = 3, steps: int = 10, payload: int = 0) -> Iterator[dict[str, object]]:
    return Load(shape, workflows, steps, 1, payload).bodies()


def test_the_bodies_are_the_same_each_time() -> None:
    for shape in Shape:
        assert list(bodies_of(shape, payload=50)) == list(bodies_of(shape, payload=50))


def test_a_mixture_alternates_the_shapes() -> None:
    names = [body["name"] for body in bodies_of(Shape.MIXED, workflows=7)]
    assert names == ["chain 0", "fan 1", "layered 2", "chain 3", "fan 4", "layered 5", "chain 6"]
    assert [body["name"] for body in bodies_of(Shape.FAN)] == ["fan 0", "fan 1", "fan 2"]


@pytest.mark.parametrize("steps", SIZES)
@pytest.mark.parametrize("shape", Shape)
def test_every_body_is_a_valid_definition(shape: Shape, steps: int) -> None:
    load = Load(shape, workflows=3, steps=steps, concurrency=2)
    assert load.total_steps == 3 * steps
    shapes = SINGLE if shape is Shape.MIXED else [shape] * 3
    for number, (body, single) in enumerate(zip(load.bodies(), shapes, strict=True)):
        validated = validate(body)
        assert {step.task_type for step in validated.steps} == {"PASSTHROUGH"}
        assert {step.provider for step in validated.steps} == {None}
        assert [sorted(step.depends_on) for step in validated.steps] == dependencies(single, steps, seed=number)


@pytest.mark.parametrize("shape", Shape)
def test_each_step_of_an_image_load_adjusts_the_image_of_its_first_dependency(shape: Shape) -> None:
    load = Load(shape, workflows=3, steps=9, concurrency=1, work=Work.IMAGE, image_size=64)
    for body in load.bodies():
        for step in validate(body).request.steps:
            mapped = [(each.from_step, each.from_field, each.to_field) for each in step.input_mappings or []]
            if step.depends_on:
                assert step.task_type == "IMAGE_ADJUSTER"
                assert mapped == [(step.depends_on[0], "result_image_path", "base_image_url")]
            else:
                assert (step.task_type, mapped) == ("GENERATION", [])
                assert (step.config["width"], step.config["height"]) == (64, 64)
            assert step.provider_config == {"provider_type": "LOCAL"}


def test_images_have_the_size_that_local_draws_without_a_size() -> None:
    load = Load(Shape.CHAIN, workflows=1, steps=1, concurrency=1, work=Work.IMAGE)
    assert image_size({}) == (load.image_size, load.image_size)
    assert image_size(image_task(load, first=True)[1]) == image_size({})


def test_waiting_steps_need_no_input() -> None:
    load = Load(Shape.CHAIN, workflows=1, steps=3, concurrency=1, work=Work.WAIT)
    (validated,) = [validate(body) for body in load.bodies()]
    assert [(step.task_type, step.provider) for step in validated.steps] == [("GENERATION", "LOCAL")] * 3


@pytest.mark.parametrize("payload", [0, 1, 10_000, 1_000_000])
def test_each_result_has_the_payload_and_the_definition_contains_it_once(payload: int) -> None:
    (body,) = bodies_of(Shape.CHAIN, workflows=1, steps=3, payload=payload)
    validated = validate(body)
    for definition in validated.request.steps:
        result = json.encode(effective_config(validated.config, definition))
        assert len(result) == (payload + len('{"text":""}') if payload else len("{}"))
        assert len(result) <= MAX_RESULT_BYTES
        assert len(json.encode(definition)) < 1_000
    assert len(json.encode(body)) < payload + 1_000


def test_a_payload_is_incompressible() -> None:
    (body,) = bodies_of(Shape.CHAIN, workflows=1, steps=1, payload=10_000)
    text = validate(body).config.step_defaults["PASSTHROUGH"]["text"]
    assert len(set(text)) == 64
    assert len({text[at : at + 8] for at in range(0, len(text), 8)}) == 1_250


def test_percentiles_are_by_nearest_rank() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    wanted = {0: 1.0, 1: 1.0, 20: 1.0, 21: 2.0, 50: 3.0, 80: 4.0, 81: 5.0, 99: 5.0, 100: 5.0}
    assert {percent: percentile(values, percent) for percent in wanted} == wanted
    assert values == [5.0, 1.0, 4.0, 2.0, 3.0]
    assert percentile([7.0], 50) == 7.0
    assert percentile(list(map(float, range(1, 1_001))), 99) == 990.0
    assert math.isnan(percentile([], 50))


def test_counts_are_differences() -> None:
    before = Counts(1.0, 2.0, 3.0, 4.0, 5.0)
    assert Counts(11.0, 12.5, 13.0, 14.0, 15.0).since(before) == Counts(10.0, 10.5, 10.0, 10.0, 10.0)


def reported(counts: Counts = COUNTS, lags_s: tuple[float, ...] = (0.004, 0.002)) -> Report:
    return report_of(
        LOAD, Measurements(counts, list(lags_s), peak_rss_mb=50.04), TIMES, WRITTEN, [0.0003, 0.0001, 0.0002]
    )


def test_the_figures_of_a_report_have_the_units_of_their_names() -> None:
    assert reported() == Report(
        shape="fan",
        workflows=5,
        steps=5_000,
        steps_per_s=2_500.0,
        transitions_per_s=5_400.0,
        commits=1_200,
        statements_per_step=0.26,
        rows_per_batch=9.0,
        ms_per_step_p50=12.3,
        ms_per_step_p95=200.0,
        workflow_ms_p50=1_234.6,
        workflow_ms_p99=100.0,
        cpu_us_per_step=100.0,
        peak_rss_mb=50.0,
        loop_lag_ms_p99=4.0,
        commit_ms=0.2,
        wal_bytes_per_step=2_000.0,
        stored_bytes_per_step=1_500.0,
    )


@pytest.mark.parametrize(
    ("wall_s", "expected"),
    [(3.0, 1_666.7), (50.0, 100.0), (50.01, 100.0), (51.0, 98.0), (67.1, 74.5), (5_000_000.0, 0.001), (3e7, 0.000167)],
)
def test_figures_are_rounded_to_about_three_digits(wall_s: float, expected: float) -> None:
    assert reported(replace(COUNTS, wall_s=wall_s)).steps_per_s == expected


def test_the_measurements_of_processes_are_summed_over_the_time_from_the_first_start_to_the_last_end() -> None:
    one = Measurements(Counts(2.0, 0.5, 10.0, 5.0, 20.0), [0.1], began_s=100.0, ended_s=102.0, peak_rss_mb=70.0)
    other = Measurements(Counts(2.5, 0.25, 30.0, 4.0, 40.0), [0.2], began_s=100.5, ended_s=103.0, peak_rss_mb=60.0)
    assert of_all_processes([one, other]) == Measurements(
        Counts(3.0, 0.75, 40.0, 9.0, 60.0), [0.1, 0.2], began_s=100.0, ended_s=103.0, peak_rss_mb=70.0
    )


def test_a_report_shows_only_the_figures_that_exist() -> None:
    plain = reported().present()
    assert list(plain)[-1] == "stored_bytes_per_step"
    images = report_of(replace(LOAD, work=Work.IMAGE), Measurements(COUNTS, [0.1]), TIMES, WRITTEN, [0.1]).present()
    assert {name: images[name] for name in images if name not in plain} == {"work": "image", "images_per_s": 2_500.0}
