"""The workflows of a benchmark, in a few shapes. A load is the same in each run."""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct

INSTANCE = "bench"
WAIT_S = 0.1
IMAGE_INPUT = "base_image_url"
_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


class Shape(StrEnum):
    """The shape of the graph of a workflow of the benchmark."""

    CHAIN = "chain"
    FAN = "fan"
    LAYERED = "layered"
    MIXED = "mixed"


class Work(StrEnum):
    """The kind of work that each step of a benchmark does.

    NOTHING is PASSTHROUGH. IMAGE is LOCAL: steps without dependencies draw an image, and all others adjust the image of
    their first dependency. WAIT takes `WAIT_S` and almost no processor time, at the provider in `waiting_provider`.
    """

    NOTHING = "nothing"
    IMAGE = "image"
    WAIT = "wait"


class Load(Struct, frozen=True):
    """*workflows* workflows of *steps* steps each, *concurrency* at a time.

    A result of a step that does nothing has about *payload* bytes. Images have *image_size* pixels in each direction:
    by default as many as LOCAL draws without a size.
    """

    shape: Shape
    workflows: int
    steps: int
    concurrency: int
    payload: int = 0
    work: Work = Work.NOTHING
    image_size: int = 1024

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
                    self._step(position, above)
                    for position, above in enumerate(dependencies(shape, self.steps, seed=number))
                ],
            }

    def _step(self, position: int, above: list[int]) -> dict[str, Any]:
        step: dict[str, Any] = {"id": f"step-{position}", "depends_on": [f"step-{dependency}" for dependency in above]}
        if self.work is Work.NOTHING:
            return step | {"task_type": "PASSTHROUGH"}
        task_type, config = image_task(self, first=not above or self.work is Work.WAIT)
        step |= {"task_type": task_type, "config": config, "provider_config": {"provider_type": "LOCAL"}}
        if self.work is Work.IMAGE and above:
            source = {"from_step": f"step-{above[0]}", "from_field": "result_image_path", "to_field": IMAGE_INPUT}
            step["input_mappings"] = [source]
        return step


def image_task(load: Load, *, first: bool) -> tuple[str, dict[str, Any]]:
    """Return the task type and the config of a step that makes an image. *first*: it draws one."""
    if first:
        size = load.image_size
        return "GENERATION", {"prompt": "dunes at night", "width": size, "height": size, "seed": 7}
    return "IMAGE_ADJUSTER", {"temperature": 1}


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
