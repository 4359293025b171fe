"""The page python of the manual is one program, which runs against the service, and names every method."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stepwell.client import AsyncStepwell
from support.documents.manual import pages
from support.documents.markdown import blocks_of
from support.service.listening_service import listening
from support.service.live_service import Service, token

PAGE = pages()["python"]


def _program() -> str:
    return "".join(block.text for block in blocks_of(PAGE) if block.language == "python")


@pytest.mark.extended
async def test_the_program_of_the_page_runs(service: Service, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text(_program())
    async with listening(service) as port:
        env = {**os.environ, "STEPWELL": f"http://127.0.0.1:{port}", "TOKEN": token()}
        command = [sys.executable, "-W", "error", str(program)]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("COMPLETED {'result_image_path': ")
    with Image.open(tmp_path / "cutout.png") as image:
        assert image.size == (192, 192)
    assert (tmp_path / "bright.png").is_file()


def test_the_page_names_every_method() -> None:
    table = PAGE.partition("## All methods")[2]
    methods = {name for name in dir(AsyncStepwell) if not name.startswith("_") and name != "aclose"}
    assert {*re.findall(r"`([a-z_]+)`", table)} >= methods


@pytest.mark.extended
def test_type_checkers_accept_the_program_of_the_page(tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text(_program())
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", f"--config-file={os.devnull}"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path}/cache", str(program)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Success: "), done.stdout
