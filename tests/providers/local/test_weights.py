"""The weights of LOCAL's work: the memory of a child process is never more than its weight says."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from anyio import create_task_group, fail_after, sleep, sleep_forever
from PIL import ExifTags, Image

from providers.child_process_memory import make_preview_and_measure, perform_and_measure
from providers.image_files import TASK, FakeIO, empty_png, file_of, picture_of
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.engine.dispatch.pools import SlotLimits
from stepwell.engine.dispatch.step_queue import Slot, StepQueue
from stepwell.ports.providers import Attempt, WorkWeight
from stepwell.providers.local.kinds import KINDS
from stepwell.providers.local.pool import Pool
from stepwell.providers.local.preview import PreviewJob
from stepwell.providers.local.provider import LocalProvider
from stepwell.providers.local.weights import weigh_preview, weigh_work
from stepwell.providers.shared import images

T = TaskType
MIB = 1024 * 1024


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """An image that can't be compressed."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    levels = np.random.default_rng(1).integers(0, 255, (height, width, bands), dtype=np.uint8)
    return Image.fromarray(levels if bands > 1 else levels[..., 0], mode)


def sixteen_bit(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 65_535, (height, width)).astype(np.uint16))


def png_of(image: Image.Image) -> bytes:
    return file_of(image, compress_level=0)


@cache
def rgb() -> bytes:
    return png_of(noise(3000, 4000))


@cache
def rgba() -> bytes:
    return png_of(noise(3000, 4000, "RGBA"))


@cache
def small() -> bytes:
    return png_of(noise(1500, 2000))


def palette() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (4000, 3000), dtype=np.uint8)).convert("P")


def rotated() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return file_of(noise(3000, 4000), "JPEG", exif=exif)


def animated_webp() -> bytes:
    frames = [noise(2000, 2000).rotate(90 * turns) for turns in range(3)]
    return file_of(frames[0], "WEBP", save_all=True, append_images=frames[1:], method=0)


def animated_gif() -> bytes:
    return file_of(palette(), "GIF", save_all=True, append_images=[palette().transpose(Image.Transpose.ROTATE_180)])


def progressive() -> bytes:
    return file_of(noise(750, 1000).resize((3000, 4000)), "JPEG", progressive=True, subsampling=0)


FORMATS: dict[str, Callable[[], bytes]] = {
    "16 bits": lambda: png_of(sixteen_bit(3000, 4000)),
    "progressive JPEG": progressive,
    "animated GIF": animated_gif,
    "animated WebP": animated_webp,
    "one column": lambda: empty_png(1, 3_000_000),
}
CASES: list[tuple[TaskType, dict[str, Any], dict[str, Callable[[], bytes]]]] = [
    (T.GENERATION, {"prompt": "x", "width": 3000, "height": 4000}, {"reference_image_url": rgba}),
    (T.REFINE, {"upscale_factor": 8}, {"base_image_url": lambda: png_of(noise(400, 500))}),
    (T.DETAIL_ENHANCER, {"radius": 100}, {"base_image_url": rgba}),
    (T.FACE_ENHANCER, {"radius": 100}, {"base_image_url": rgba}),
    (T.BACKGROUND_FIX, {}, {"base_image_url": rgb, "background_image_url": rgba}),
    (T.EDITING, {"rotate": 45}, {"base_image_url": rgba}),
    (T.EDITING, {"rotate": 90, "crop": [0, 0, 2000, 3000]}, {"base_image_url": rgba}),
    (T.EDITING, {"scale": 2}, {"base_image_url": small, "overlay_image_url": small, "mask_image_url": rgba}),
    (
        T.EDITING,
        {},
        {"base_image_url": small, "reference_image_urls[0]": rgba, "reference_image_urls[1]": rgba},
    ),
    (T.VIDEO_GENERATION, {"duration_s": 0.5}, {"base_image_url": rgba}),
    (T.VIDEO_GENERATION, {"duration_s": 0.5, "width": 1500, "height": 1500}, {"base_image_url": rgb}),
]
QUICK_CASE = (T.GENERATION, {"prompt": "x", "width": 64, "height": 64}, {"reference_image_url": rgba})


async def peak_and_weight(
    task_type: TaskType, inputs: dict[str, Any], sources: dict[str, Callable[[], bytes]]
) -> tuple[int, int]:
    """Return the largest memory of the child process, and the memory that was expected."""
    job: dict[str, Any] = {"task_type": str(task_type), "inputs": inputs, "seed": 5}
    count = inputs.get("num_images", 1)
    with TemporaryDirectory() as folder:
        paths = {field: Path(folder, field) for field in sources}
        files = {field: source() for field, source in sources.items()}
        for field, data in files.items():
            paths[field].write_bytes(data)
        weight = weigh_work(KINDS[task_type].weigh, inputs, {field: BytesIO(data) for field, data in files.items()})
        job |= {
            "files": {field: str(path) for field, path in paths.items()},
            "outputs": [str(Path(folder, "output"))] * count,
        }
        outcome = await Pool().run(perform_and_measure, job, weight)
    assert "error" not in outcome, outcome
    return outcome["peak"], weight.memory


@pytest.mark.parametrize(
    ("task_type", "inputs", "sources"),
    [QUICK_CASE, *(pytest.param(*case, marks=pytest.mark.extended) for case in CASES)],
)
async def test_a_child_process_needs_no_more_memory_than_its_weight_and_not_much_less(
    task_type: TaskType, inputs: dict[str, Any], sources: dict[str, Callable[[], bytes]]
) -> None:
    peak, expected = await peak_and_weight(task_type, inputs, sources)
    assert peak <= expected <= 1.5 * peak


@pytest.fixture(
    scope="module",
    params=["rotated JPEG", *(pytest.param(name, marks=pytest.mark.extended) for name in FORMATS)],
)
def picture(request: pytest.FixtureRequest) -> bytes:
    """A file of each format. The tests of one format run one after the other, because making the file takes long."""
    return rotated() if request.param == "rotated JPEG" else FORMATS[request.param]()


@pytest.mark.extended
async def test_no_format_needs_more_memory_than_its_weight(picture: bytes) -> None:
    peak, expected = await peak_and_weight(T.IMAGE_ADJUSTER, {}, {"base_image_url": lambda: picture})
    assert peak <= expected


async def test_no_preview_needs_more_memory_than_its_weight(picture: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(picture)
    with source.open("rb") as file:
        header = images.read_header(file)
    assert header is not None
    weight = weigh_preview(header, 1024)
    job = PreviewJob(str(source), 1024, str(target), weight)
    outcome = await Pool().run(make_preview_and_measure, job, weight)
    assert outcome.pop("peak") <= weight.memory
    assert outcome == {}
    assert max(picture_of(target.read_bytes()).size) <= 1024


def test_the_size_is_read_from_the_header(picture: bytes) -> None:
    header = images.read_header(BytesIO(picture))
    assert header is not None
    assert header.size == Image.open(BytesIO(picture)).size


async def test_a_small_image_of_another_tenant_does_not_wait_for_thirty_large_ones() -> None:
    step_queue = StepQueue(SlotLimits(local=2, local_memory=2 * 1024 * MIB), lambda: 0.0)
    ended, large = list[str | None](), list[WorkWeight]()

    class DispatchedIO(FakeIO):
        """It gets its child processes from the dispatcher. Large images keep theirs."""

        def __init__(self, slot: Slot) -> None:
            super().__init__()
            self._slot, self._step = slot, (slot.workflow_id, slot.position)

        @asynccontextmanager
        async def child_process(self, weight: WorkWeight) -> AsyncIterator[None]:
            async with step_queue.local.child_process(self._slot.tenant, self._step, weight):
                if not weight.light:
                    large.append(weight)
                    await sleep_forever()
                yield

        def charge(self, cost: float) -> None:
            step_queue.local.charge(self._slot.tenant, self._step, cost)

    async def run(slot: Slot) -> None:
        size = 64 if slot.tenant == "victim" else 2_500
        await LocalProvider().run(attempt_of(slot, {"prompt": "x", "width": size, "height": size}), DispatchedIO(slot))
        ended.append(slot.tenant)
        step_queue.release(slot)

    async with create_task_group() as group:
        for position in range(30):
            step_queue.enqueue("heavy", UUID(int=1), position, ProviderType.LOCAL)
        for slot in iter(step_queue.grant, None):
            group.start_soon(run, slot)
        with fail_after(60):
            while len(large) < 2:
                await sleep(0.01)
        step_queue.enqueue("victim", UUID(int=2), 0, ProviderType.LOCAL)
        (slot,) = iter(step_queue.grant, None)
        with fail_after(60):
            await run(slot)
        assert (ended, step_queue.local.used) == (["victim"], 2)
        group.cancel_scope.cancel()
    assert step_queue.local.used == 0


def attempt_of(slot: Slot, inputs: dict[str, Any]) -> Attempt:
    return Attempt(
        task_id=TASK,
        workflow_id=slot.workflow_id,
        tenant=slot.tenant,
        step_id="step",
        task_type=T.GENERATION,
        number=1,
        inputs=inputs,
        provider_config={},
        seed=5,
    )
