"""The page about providers in Python: its example is installed, and does a step."""

import asyncio
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from stepwell.basics.setting_values import Secrets
from stepwell.testing import MemoryDatabase
from stepwell.testing.provider_scripts import png
from support.documents.manual import pages
from support.documents.markdown import blocks_of
from support.service.live_service import running_service

BLOCKS = blocks_of(pages()["python-provider"])
[PROJECT] = [block.text for block in BLOCKS if block.language == "toml"]
[CODE] = [block.text for block in BLOCKS if block.language == "python"]


class CaptionServer(BaseHTTPRequestHandler):
    """Describes each image by its size and the language, and refuses calls without the key."""

    def do_POST(self) -> None:
        image = self.rfile.read(int(self.headers["Content-Length"]))
        allowed = self.headers["Authorization"] == "Bearer a key"
        body = json.encode({"caption": f"{len(image)} bytes at {self.path}"})
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def caption_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), CaptionServer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def _installed(tmp_path: Path) -> Iterator[None]:
    """Install the files of the page, as pip would."""
    project = tomllib.loads(PROJECT)["project"]
    site = tmp_path / "site-packages"
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    metadata.joinpath("METADATA").write_text(about)
    [(group, names)] = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in names.items()), ""]
    metadata.joinpath("entry_points.txt").write_text("\n".join(lines))
    site.joinpath("stepwell_captions.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield
    sys.modules.pop("stepwell_captions", None)


def test_the_example_has_at_most_80_lines() -> None:
    assert len(CODE.splitlines()) <= 80


@pytest.mark.asyncio
@pytest.mark.usefixtures("_installed")
async def test_the_example_does_a_step(caption_url: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "captions_url": caption_url,
        "credentials": Secrets({"captions": "a key", "captions_old": "x"}),
    }
    async with running_service(MemoryDatabase(), tmp_path / "data", **settings) as service:
        upload = await service.client.post("/api/v1/artifacts", files={"file": ("a.png", image := png(), "image/png")})
        config = {"prompt": "what is this?", "image_urls": [upload.json()["artifacts"][0]["path"]]}
        step = {"id": "say", "task_type": "LLM_INTERACTION", "config": config, "max_retries": 0}
        mine = {"provider_config": {"language": "fr"}}
        old = {"provider_config": {"provider_type": "CAPTIONS", "credential": "captions_old"}}
        created = await asyncio.gather(service.create(step | mine), service.create(step | old))
        done, refused = [await service.until_ended(each["id"]) for each in created]
        assert done["final_step_result"] == {"result_text": f"{len(image)} bytes at /caption?language=fr"}
        assert refused["errors"] == ["say: CAPTIONS answered 401"]
