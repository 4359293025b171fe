"""The comparison of Stepwell's workers with a plain Celery canvas."""

import asyncio

import pytest

from bench.plain_celery import CanvasSeconds, compare, report_of
from stepwell.bench.loads import Load, Shape, Work


@pytest.mark.parametrize(
    ("shape", "times"), [(Shape.CHAIN, 1.25), (Shape.FAN, 2.5), (Shape.LAYERED, None), (Shape.MIXED, None)]
)
def test_a_load_is_compared_with_the_canvas_of_its_shape(shape: Shape, times: float | None) -> None:
    load = Load(shape, workflows=5, steps=1_000, concurrency=5)
    report = report_of(load, 2_500.0, CanvasSeconds(chain_s=2.5, chord_s=5.0))
    assert (report["chain"], report["chord"]) == (2_000.0, 1_000.0)
    assert report.get("times_celery") == times


@pytest.mark.extended
def test_both_run_the_same_load() -> None:
    load = Load(Shape.FAN, workflows=2, steps=4, concurrency=2, work=Work.IMAGE, image_size=32)
    report = asyncio.run(compare(load, 2))
    assert report["times_celery"] == report["stepwell"] / report["chord"] > 0
