"""What obstore leaves open on a local folder: syncing, symbolic links, what a crash left behind.

All methods block, and so run in a thread.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stepwell.artifacts.staged_paths import parse_stored_path
from stepwell.domain.artifacts import ARTIFACTS_ROOT, ArtifactPath


class Disk:
    """The folder below which everything lies; created if it is missing."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve(strict=True)

    def holds(self, path: ArtifactPath, *, whole: bool) -> bool:
        """Whether *path* stays below the root when symbolic links are followed; unless *whole*, its folder.

        A link in the place of the file doesn't matter to who replaces or removes it: the link itself goes.
        """
        target = self.root / (str(path) if whole else path.prefix)
        return target.resolve().is_relative_to(self.root / ARTIFACTS_ROOT)

    def publish(self, staged: ArtifactPath, path: ArtifactPath) -> None:
        """Give a staged file its name, on the disk before this returns. A failure leaves neither.

        The contents are synced before the rename: after a power cut the name must not stand for half a file.
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
        """Remove what a failed write left of *staged*, and its folder if that is all there was."""
        folder = self.root / staged.prefix
        for leftover in (folder / staged.name, *folder.glob(f"{staged.name}#*")):
            leftover.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()

    def unlink(self, path: ArtifactPath) -> None:
        """Remove a file, and its folder once that is empty. Raises OSError."""
        target = self.root / str(path)
        target.unlink()
        with suppress(OSError):  # other files are in it, or another call was faster
            target.parent.rmdir()

    def remove_folder(self, name: str) -> None:
        """Remove `media/<name>` and all that is in it; none is no error. Links are removed, not followed."""
        folder = self.root / ARTIFACTS_ROOT / name
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists() and not folder.parent.is_symlink():
            with suppress(FileNotFoundError):  # another call was faster
                shutil.rmtree(folder)

    def walk(self, page: int) -> Iterator[list[str]]:
        """The paths of all files, and of what crashes left behind, in lists of up to *page*."""
        found: list[str] = []
        for folder in self._entries(ARTIFACTS_ROOT):
            if not folder.is_dir(follow_symlinks=False):
                continue
            for entry in self._entries(f"{ARTIFACTS_ROOT}/{folder.name}"):
                path = f"{ARTIFACTS_ROOT}/{folder.name}/{entry.name}"
                if entry.is_dir(follow_symlinks=False) or parse_stored_path(path) is None:
                    continue  # not ours: it is neither served nor swept
                found.append(path)
                if len(found) == page:
                    yield found
                    found = []
        if found:
            yield found

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / folder) as entries:
                yield from entries
        except FileNotFoundError:  # gone while we looked
            return


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
