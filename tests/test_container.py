"""The container's install lines, in a bare environment: no Docker engine is needed to know that they work."""

import re
from pathlib import Path

from support.tree import TOP, bash, copy_tree

DOCKERFILE = (TOP / "deploy/Dockerfile").read_text()


def test_install_lines_give_a_working_program(tmp_path: Path) -> None:
    target = tmp_path / "opt"
    lines = re.findall(r"^RUN (.*/opt/stepwell.*)$", DOCKERFILE, re.MULTILINE)
    assert [("-m venv" in line, "--require-hashes" in line, "--no-deps" in line) for line in lines] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    script = "\n".join(line.replace("/opt/stepwell", str(target)) for line in lines)
    bash(script, copy_tree(tmp_path / "src"), {})
    assert "stepwell" in bash(f"{target}/bin/stepwell --version", tmp_path, {})


def test_every_source_that_the_image_copies_is_let_through() -> None:
    ignored = (TOP / ".dockerignore").read_text().splitlines()
    copied = [
        source for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (TOP / source).exists()
        assert f"!{source}" in ignored
