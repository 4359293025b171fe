"""Functions for a local folder that obstore lacks: they sync files, check links, and remove left-overs of crashes.

All methods block, so callers run them in a thread.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from stepwell.artifacts.staged_paths import parse_stored_path
from stepwell.domain.artifacts import ARTIFACTS_ROOT, ArtifactPath


class Disk:
    """The root folder of a local store. It is created if it is missing."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve(strict=True)

    def contains(self, path: ArtifactPath, *, follow_file: bool) -> bool:
        """Return whether *path* is below the root after symbolic links are followed.

        Without *follow_file*, only the links of its folder are followed. That suffices for replacing or deleting a
        file, because both affect the link itself.
        """
        target = self.root / (str(path) if follow_file else path.prefix)
        return target.resolve().is_relative_to(self.root / ARTIFACTS_ROOT)

    def publish(self, staged: ArtifactPath, path: ArtifactPath) -> None:
        """Rename a staged file to its final path, and sync that to the disk. A failure leaves neither file.

        The contents are synced before the rename, so that after a power cut no path names half a file.
        """
        source = self.root / str(staged)
        try:
            _sync(source, os.O_RDONLY)
            source.replace(self.root / str(path))
        except OSError:
            source.unlink(missing_ok=True)
            raise
        for folder in (path.prefix, ARTIFACTS_ROOT, "."):
            _sync(self.root / folder, os.O_RDONLY | os.O_DIRECTORY)

    def drop_staged(self, staged: ArtifactPath) -> None:
        """Remove what a failed write left of *staged*, and the folder if it is empty then."""
        folder = self.root / staged.prefix
        for leftover in (folder / staged.name, *folder.glob(f"{staged.name}#*")):
            leftover.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()

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
        """Remove `media/<name>` with its contents, if it exists. Links are removed, not followed."""
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


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
