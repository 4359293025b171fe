"""Functions for a local folder that obstore lacks: durable writes, checks of links, the removal of left-overs.

All methods block, so callers run them in a thread.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from typing import IO, cast
from uuid import uuid4

from stepwell.basics.artifacts import ARTIFACT_NAME, ARTIFACTS_ROOT, ArtifactPath, parse_artifact_path

# Stepwell's own staged file, and obstore's staging of any file ("name#1").
_STAGED_NAME = re.compile(rf"\.part-[0-9a-f]{{32}}(?:#[0-9]{{1,9}})?|{ARTIFACT_NAME}#[0-9]{{1,9}}")
_BUFFER = 1 << 18  # bytes


def parse_stored_path(path: str) -> ArtifactPath | None:
    """Return the parts of *path*, or None if it is neither an artifact's nor a staged file's."""
    if (whole := parse_artifact_path(path)) is not None:
        return whole
    folder, _, name = path.rpartition("/")
    if _STAGED_NAME.fullmatch(name) is None or (target := parse_artifact_path(f"{folder}/x")) is None:
        return None
    return target._replace(name=name)


class Disk:
    """The root folder of a local store. It is created if it is missing."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve(strict=True)
        self._is_root_synced = False

    def contains(self, path: ArtifactPath, *, resolve_file: bool) -> bool:
        """Return whether *path* is below the root after symbolic links are resolved.

        Without *resolve_file*, only the links of its folder are resolved. That suffices for replacing or deleting a
        file, because both affect the link itself.
        """
        target = self.root / (str(path) if resolve_file else path.prefix)
        return target.resolve().is_relative_to(self.root / ARTIFACTS_ROOT)

    def file(self, path: ArtifactPath) -> str | None:
        """Return where the file is; None if it doesn't exist, or isn't below the root."""
        target = self.root / str(path)
        return str(target) if self.contains(path, resolve_file=True) and target.is_file() else None

    def store(self, path: ArtifactPath, source: IO[bytes]) -> tuple[int, str] | None:
        """Store the whole of *source* at *path*, synced to the disk. Return its size and its SHA-256.

        Returns None if *path* leads out of the root. The contents are synced before the file gets its name, so that
        after a power cut no path names half a file. Raises OSError. A write that fails leaves neither a part of the
        file nor an empty folder.
        """
        if not self.contains(path, resolve_file=False):
            return None
        target = self.root / str(path)
        staged = target.with_name(f".part-{uuid4().hex}")
        try:
            if self._named(source, staged):
                measured = _synced_and_measured(source)
            else:
                with self._created(staged) as file:
                    measured = read_measured(source, file.write)
                    file.flush()
                    os.fsync(file.fileno())
            staged.replace(target)
        except BaseException:
            staged.unlink(missing_ok=True)
            with suppress(OSError):  # it contains other files
                target.parent.rmdir()
            raise
        self._sync_folders(target.parent)
        return measured

    def _named(self, file: IO[bytes], path: Path) -> bool:
        """Give a temporary file of this folder the name *path*. Return False if that is impossible."""
        try:
            descriptor = file.fileno()
            if os.fstat(descriptor).st_nlink:  # a file of somebody else
                return False
            file.flush()
            self._create_folder(path.parent)
            _link(descriptor, path)
        except OSError:  # it is in memory or on another disk, or another call has just removed the empty folder
            return False
        return True

    def _created(self, path: Path) -> IO[bytes]:
        """Create the file, and its folders if they are missing."""
        while True:
            try:
                return path.open("xb")
            except FileNotFoundError:  # or another call has just removed the empty folder
                self._create_folder(path.parent)

    def _create_folder(self, folder: Path) -> None:
        """Create the folder of a task, and the one that contains all these, if they are missing."""
        if not folder.parent.exists():
            self._is_root_synced = False
        folder.mkdir(parents=True, exist_ok=True)

    def _sync_folders(self, folder: Path) -> None:
        """Sync the folder of a task, the one that contains all these, and the root if that one is new there."""
        _sync_folder(folder)
        _sync_folder(folder.parent)
        if not self._is_root_synced:
            _sync_folder(self.root)
            self._is_root_synced = True

    def unlink(self, path: ArtifactPath, previews: Iterable[str] = ()) -> None:
        """Remove a file, then its *previews*, and its folder if it is empty then. Raises OSError."""
        target = self.root / str(path)
        try:
            target.unlink()
        finally:
            # After the file: a process that stores a preview later finds no file, and deletes its preview.
            for preview in previews:
                (self.root / preview).unlink(missing_ok=True)
            with suppress(OSError):  # it contains other files, or another call was faster
                target.parent.rmdir()

    def remove_folder(self, name: str) -> None:
        """Remove `media/<name>` with its contents, if it exists. A link is removed itself, not its target."""
        folder = self.root / ARTIFACTS_ROOT / name
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists() and not folder.parent.is_symlink():
            with suppress(FileNotFoundError):  # another call was faster
                shutil.rmtree(folder)

    def walk(self, page: int) -> Iterator[list[str]]:
        """Yield the paths of all files, staged ones included, in lists of up to *page*."""
        paths: list[str] = []
        for folder in self._entries(ARTIFACTS_ROOT):
            if not folder.is_dir(follow_symlinks=False):
                continue
            for entry in self._entries(f"{ARTIFACTS_ROOT}/{folder.name}"):
                path = f"{ARTIFACTS_ROOT}/{folder.name}/{entry.name}"
                if entry.is_dir(follow_symlinks=False) or parse_stored_path(path) is None:
                    continue  # not ours, so it is neither served nor deleted
                paths.append(path)
                if len(paths) == page:
                    yield paths
                    paths = []
        if paths:
            yield paths

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / folder) as entries:
                yield from entries
        except FileNotFoundError:  # deleted meanwhile
            return


def read_measured(source: IO[bytes], use: Callable[[memoryview], object]) -> tuple[int, str]:
    """Call *use* with each part of the whole of *source*. Return its size and its SHA-256.

    All parts share one buffer, because the kernel would clear fresh memory for each, which takes as long as to copy it.
    """
    source.seek(0)
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(_BUFFER))
    while read := cast(BufferedIOBase, source).readinto(buffer):
        use(buffer[:read])
        digest.update(buffer[:read])
        size += read
    return size, digest.hexdigest()


def _link(descriptor: int, path: Path) -> None:
    """Give the open file without a name the name *path*, as open(2) describes for O_TMPFILE."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        # Only with a folder's descriptor does `os.link` resolve the link in /proc.
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder)
    finally:
        os.close(folder)


def _synced_and_measured(file: IO[bytes]) -> tuple[int, str]:
    """Sync *file* to the disk. Meanwhile, measure it."""
    with ThreadPoolExecutor(1) as executor:
        synced = executor.submit(os.fsync, file.fileno())
        measured = read_measured(file, lambda _: None)
        synced.result()
    return measured


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
