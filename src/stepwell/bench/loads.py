"""The workflows of a benchmark: PASSTHROUGH steps in a few shapes. A load is the same in each run."""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct

INSTANCE = "bench"

_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


class Shape(StrEnum):
    """The shape of the graph of a workflow of the benchmark."""

    CHAIN = "chain"
    FAN = "fan"
    LAYERED = "layered"
    MIXED = "mixed"


class Load(Struct, frozen=True):
    """*workflows* workflows of *steps* steps each, *concurrency* at a time. A result has about *payload* bytes."""

    shape: Shape
    workflows: int
    steps: int
    concurrency: int
    payload: int = 0

    @property
    def total_steps(self) -> int:
        return self.workflows * self.steps

    def bodies(self) -> Iterator[dict[str, Any]]:
        """Yield the definitions of the workflows, as clients post them."""
        text = "".join(random.Random(0).choices(_CHARACTERS, k=self.payload))  # noqa: S311 - not for secrets
        shapes = [each for each in Shape if each is not Shape.MIXED] if self.shape is Shape.MIXED else [self.shape]
        for number in range(self.workflows):
            shape = shapes[number % len(shapes)]
            yield {
                "name": f"{shape} {number}",
                "origin_instance": INSTANCE,
                # In the defaults, so that the definition is small and the results are what is measured.
                "config": {"step_defaults": {"PASSTHROUGH": {"text": text}}} if text else {},
                "steps": [
                    {"id": f"step-{position}", "task_type": "PASSTHROUGH", "depends_on": [f"step-{d}" for d in above]}
                    for position, above in enumerate(dependencies(shape, self.steps, seed=number))
                ],
            }


def dependencies(shape: Shape, steps: int, *, seed: int) -> list[list[int]]:
    """Return the positions on which each step depends. *seed* varies LAYERED. Raises ValueError for MIXED."""
    match shape:
        case Shape.CHAIN:
            return [[position - 1] if position else [] for position in range(steps)]
        case Shape.FAN:
            middle = [[0] for _ in range(steps - 2)]
            return [[], *middle, list(range(1, steps - 1)) or [0]] if steps > 1 else [[]]
        case Shape.LAYERED:
            return _layered(steps, random.Random(seed))  # noqa: S311 - not for secrets
        case Shape.MIXED:
            raise ValueError("a mixture is made of the other shapes")


def _layered(steps: int, draw: random.Random) -> list[list[int]]:
    """Return about as many layers as a layer has steps. A step depends on one to three steps of the layer before."""
    width = max(round(steps**0.5), 1)
    layered: list[list[int]] = []
    for position in range(steps):
        layer = position // width
        above = range((layer - 1) * width, layer * width) if layer else range(0)
        layered.append(sorted(draw.sample(above, min(draw.randint(1, 3), len(above)))))
    return layered
