"""The work of a child process: a table from task types to functions. No other process imports it: see `sizes`."""

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import IO, Any

from stepwell.basics.content_credentials import has_credentials
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.outbound.sanitise import invalid_input, sanitised
from stepwell.providers.local import background, editing, enhance, generation, video
from stepwell.providers.local.kinds import KINDS
from stepwell.providers.local.rendering import RenderedFile
from stepwell.providers.local.sizes import seed_of_image
from stepwell.providers.local.weights import weigh_work
from stepwell.providers.shared.images import Files

# The function that does a task type: `function(inputs, files, seed)`.
FUNCTIONS: dict[TaskType, Callable[[Mapping[str, Any], Files, int], RenderedFile]] = {
    TaskType.GENERATION: generation.generate,
    TaskType.EDITING: editing.edit,
    TaskType.REFINE: enhance.refine,
    TaskType.VIDEO_GENERATION: video.animate,
    TaskType.BACKGROUND_FIX: background.fix,
    TaskType.FACE_ENHANCER: enhance.enhance_face,
    TaskType.IMAGE_ADJUSTER: enhance.adjust,
    TaskType.DETAIL_ENHANCER: enhance.enhance_detail,
    TaskType.BACKGROUND_REMOVE: background.remove,
}
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in this process. *job* has task_type, inputs, files (paths by field), outputs (paths), seed, light_only.

    Each output has its own seed. Returns {result, cost}; the result is that of the first output. If it fails,
    returns the fields of an `AttemptError`, because an exception with keywords can't be pickled. If the disk is full,
    returns {disk_full}, the reason. With `light_only`, heavy work isn't done, and this returns its {cost, memory}.
    """
    try:
        with ExitStack() as stack:
            files = {field: stack.enter_context(_open_input(path, field)) for field, path in job["files"].items()}
            weight = weigh_work(KINDS[TaskType(job["task_type"])].weigh, job["inputs"], files)
            if job["light_only"] and not weight.light:
                return {"cost": weight.cost, "memory": weight.memory}
            removed = {"content_credentials_removed": True} if any(map(_has_credentials, files.values())) else {}
            results = [_render(job, files, index) for index in range(len(job["outputs"]))]
    except AttemptError as error:
        return {"error": str(error), "retryable": error.retryable, "provider_fault": error.provider_fault}
    except MemoryError:
        return {"error": "the step needs more memory than LOCAL expects", "retryable": False, "provider_fault": True}
    except OSError as error:
        if error.errno in _DISK_FULL:
            return {"disk_full": os.strerror(error.errno)}
        text = f"the output could not be written: {error.strerror or type(error).__name__}"
        return {"error": text, "retryable": True, "provider_fault": False}
    except Exception as error:  # noqa: BLE001 - a bug here, which the same inputs would meet again
        text = sanitised(f"LOCAL failed: {type(error).__name__}: {error}")
        return {"error": text, "retryable": False, "provider_fault": True}
    return {"result": results[0] | removed, "cost": weight.cost}


def _render(job: dict[str, Any], files: Files, index: int) -> dict[str, Any]:
    """Write the output at *index*, and return the step's result about it. The image is freed at the end."""
    function = FUNCTIONS[TaskType(job["task_type"])]
    rendered = function(job["inputs"], files, seed_of_image(job["seed"], index))
    with open(job["outputs"][index], "wb") as output:  # noqa: PTH123 - as the other files
        rendered.write(output)
    return rendered.result


def _has_credentials(file: IO[bytes]) -> bool:
    file.seek(0)
    found = has_credentials(file)
    file.seek(0)
    return found


def _open_input(path: str, field: str) -> IO[bytes]:
    try:
        return open(path, "rb")  # noqa: PTH123 - the caller closes it
    except FileNotFoundError:
        raise invalid_input(field, "the artifact was deleted") from None
