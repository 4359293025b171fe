"""Results report the Content Credentials of the files that a provider has made, and that LOCAL has removed them."""

import hashlib
import io
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from PIL import Image

from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.emulators import custom
from support.emulators.custom import CustomEmulator
from support.providers.emulated import SECRET, World
from support.service.live_service import running_service
from support.workflows.definitions import mapped


def png(*, signed: bool) -> bytes:
    """A PNG, with a chunk `caBX` if it is signed."""
    buffer = io.BytesIO()
    Image.effect_noise((16, 16), 90).save(buffer, "PNG")
    data = buffer.getvalue()
    chunk = b"caBX1234"
    return data[:33] + b"\0\0\0\4" + chunk + crc32(chunk).to_bytes(4) + data[33:] if signed else data


@pytest.mark.parametrize(
    ("signed", "inline"),
    [(True, False), *(pytest.param(*each, marks=pytest.mark.extended) for each in [(True, True), (False, False)])],
)
async def test_credentials_are_reported_and_so_is_their_removal(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, signed: bool, inline: bool
) -> None:
    data = png(signed=signed)
    monkeypatch.setattr(custom, "PICTURE", data)
    monkeypatch.setattr(custom, "SHA256", hashlib.sha256(data).hexdigest())
    tmp_path.joinpath("emulator").mkdir()
    async with CustomEmulator(tmp_path / "emulator", secret=SECRET) as worker:
        worker.inline = inline
        world = World(ProviderType.CUSTOM, worker)
        async with running_service(memory, tmp_path / "data", **world.settings) as service:
            adjust: dict[str, Any] = {
                "id": "adjust",
                "task_type": "IMAGE_ADJUSTER",
                "config": {"exposure": 1},
                "provider_config": {"provider_type": "LOCAL"},
                "depends_on": ["draw"],
                "input_mappings": [mapped("draw", "result_image_path", "base_image_url")],
            }
            again = adjust | {
                "id": "again",
                "depends_on": ["adjust"],
                "input_mappings": [mapped("adjust", "result_image_path", "base_image_url")],
            }
            created = await service.create(world.step("draw"), adjust, again)
            workflow = await service.until_ended(created["id"])
            assert workflow["status"] == "COMPLETED", workflow["errors"]
            drawn, adjusted, adjusted_again = [step["result"] for step in workflow["steps"]]
            assert drawn.get("content_credentials") is (True if signed else None)
            assert adjusted.get("content_credentials_removed") is (True if signed else None)
            assert adjusted_again.keys() & {"content_credentials", "content_credentials_removed"} == set()
