"""The making of previews, as a protocol."""

from typing import Protocol

from stepwell.ports.providers import WorkWeight


class PreviewMaker(Protocol):
    """Makes previews of images in worker processes."""

    async def make(self, source: str, width: int, target: str, weight: WorkWeight) -> WorkWeight | None:
        """Write a preview of the image file *source* to the file *target*, as WebP. Both are paths on this machine.

        It fits into a square of *width* pixels, and is never larger than the image. If the work is heavier than
        *weight*, nothing is done, and its weight is returned. The caller makes sure that the memory of *weight* may be
        used.

        Raises `AttemptError` if there can be no preview, or if the worker died and it is retryable; and
        `NoRoomForArtifact`.
        """
