"""A real, small disk: a tmpfs that only one process and its children see, so that it ends with them."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from support.processes.stepwell_process import StepwellProcess, start


def on_small_disk(mount_point: Path, megabytes: int, *program: str) -> tuple[str, ...]:
    """Return the command that runs *program* as the present user, with a tmpfs of that size at *mount_point*.

    Root mounts it in a mount namespace. Other users need a user namespace as well, in which they are root until then.
    """
    mount = f"mount -t tmpfs -o size={megabytes}m,mode=711 none {mount_point}"
    if os.geteuid() == 0:
        return ("unshare", "-m", "sh", "-c", f'{mount} && exec "$0" "$@"', *program)
    back = f"unshare -U --map-user={os.geteuid()} --map-group={os.getegid()}"
    return ("unshare", "-Urm", "sh", "-c", f'{mount} && exec {back} "$0" "$@"', *program)


def has_small_disks(folder: Path) -> bool:
    """Return whether the present user may mount a small disk."""
    if sys.platform != "linux":
        return False
    command = on_small_disk(folder, 1, "true")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class SmallDisk:
    """The disk at *mount_point*, as process *pid* sees it."""

    def __init__(self, pid: int, mount_point: Path) -> None:
        self._filler = Path(f"/proc/{pid}/root{mount_point}/filler")

    @property
    def free(self) -> int:
        """The free space, in bytes."""
        disk = os.statvfs(self._filler.parent)
        return disk.f_bavail * disk.f_frsize

    def fill(self) -> None:
        """Fill the disk to its last byte."""
        with self._filler.open("ab", buffering=0) as filler:
            while self.free:
                with suppress(OSError):
                    filler.write(bytes(self.free))

    def empty(self) -> None:
        self._filler.unlink()


@contextmanager
def up_on_small_disk(
    data_dir: Path, part: str, megabytes: int
) -> Iterator[tuple[StepwellProcess, SmallDisk, httpx.Client]]:
    """Start a `stepwell up` whose *part* of the data folder is a small disk, and yield it when it is ready."""
    mount_point = data_dir / part
    mount_point.mkdir(parents=True)
    if not has_small_disks(mount_point):
        pytest.skip("this user may not mount a disk here; tests/engine/explain/test_disk_full.py does without")
    program = on_small_disk(mount_point, megabytes, sys.executable, "-m", "stepwell")
    running = start("up", data_dir, None, "--data-dir", str(data_dir), program=program)
    try:
        running.wait_ready()
        with running.client() as client:
            yield running, SmallDisk(running.pid, mount_point), client
    finally:
        running.kill_group()


def create_large(client: httpx.Client) -> httpx.Response:
    """Create a workflow that needs new pages: its rows are too big, and too random, for what is free in old ones."""
    noise = base64.b64encode(os.urandom(200_000)).decode()
    steps = [{"id": "a", "task_type": "PASSTHROUGH", "config": {"noise": noise}}]
    body = {"name": "n", "origin_instance": "o", "steps": steps}
    return client.post("/api/v1/workflows/", params={"start": "true"}, json=body)
