"""Makes previews of images, in the child processes of LOCAL's steps."""

import errno
import math
import os
from typing import Any, NamedTuple

from stepwell.basics.errors import ArtifactDiskFull, AttemptError
from stepwell.ports.providers import WorkWeight
from stepwell.providers.local.pool import Pool
from stepwell.providers.local.weights import weigh_preview
from stepwell.providers.shared import images

_FILE = "the file"  # the name of the image in messages
_QUALITY = 80
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class PreviewJob(NamedTuple):
    """A preview of the file `source`, to be written to the file `target`. Heavier work than `weight` isn't done."""

    source: str
    width: int
    target: str
    weight: WorkWeight


class LocalPreviews:
    """Implements `ports.artifacts.PreviewMaker`. *max_memory* is that of all child processes of LOCAL, in bytes."""

    def __init__(self, max_memory: float = math.inf) -> None:
        self._pool = Pool(max_memory)

    async def make(self, source: str, width: int, target: str, weight: WorkWeight) -> WorkWeight | None:
        result = await self._pool.run(make_preview, PreviewJob(source, width, target, weight), weight)
        if "error" in result:
            raise AttemptError(result["error"], retryable=result["retryable"])
        if "disk_full" in result:
            raise ArtifactDiskFull(result["disk_full"])
        return WorkWeight(result["cost"], result["memory"]) if "memory" in result else None


def make_preview(job: PreviewJob) -> dict[str, Any]:
    """Do a job in the child process. Returns {}, {cost, memory} of heavy work, {error, retryable} or {disk_full}."""
    try:
        with open(job.source, "rb") as file:  # noqa: PTH123 - the path may be one of /proc
            if (header := images.read_header(file)) is not None:
                needed = weigh_preview(header, job.width)
                if needed.cost > job.weight.cost or needed.memory > job.weight.memory:
                    return {"cost": needed.cost, "memory": needed.memory}
            image = images.open_image({_FILE: file}, _FILE)
        preview = images.shrink(image, job.width)
        with open(job.target, "wb") as output:  # noqa: PTH123 - as the other file
            preview.save(output, "WEBP", quality=_QUALITY)
    except AttemptError as error:
        return {"error": str(error), "retryable": error.retryable}
    except MemoryError:
        return {"error": f"{_FILE}: takes more memory than expected", "retryable": False}
    except OSError as error:
        if error.errno in _DISK_FULL:
            return {"disk_full": os.strerror(error.errno)}
        return {"error": f"{_FILE}: {error.strerror or type(error).__name__}", "retryable": True}
    return {}
