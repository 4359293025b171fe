"""The tools about files: the outputs of a workflow, and uploads."""

import base64
import binascii
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Final

import filetype
from anyio import to_thread
from msgspec import UNSET
from msgspec.structs import replace

from stepwell.basics.folder_names import is_below
from stepwell.client import OutputPublic, StepwellError
from stepwell.contract.enums import StepStatus
from stepwell.mcp.arguments import LocalUploadArguments, OutputsArguments, UploadArguments
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool import Image, Tool, ToolOutcome, writing_tool
from stepwell.mcp.tool_errors import ResponseTooLarge, ToolFailed
from stepwell.mcp.tool_results import MAX_STEPS, OutputFile, OutputsResult, UploadResult, step_results
from stepwell.mcp.workflow_tools import read_briefly

MAX_FILES: Final = 50
MAX_IMAGES: Final = 8
MAX_IMAGES_BYTES: Final = 1024 * 1024
"""The most bytes of all images of one result."""
_COPIES: Final = 6  # of the bytes of an image while it becomes base64 in a message
_PREVIEW_TYPE: Final = "image/webp"
_NEXT: Final = "Use file.path as the value of a *_url input, like base_image_url."
_OUTPUTS_TEXT: Final = (
    "Return the files of a workflow, its items and its sub-workflows, those of the final result last, and the results "
    "of its completed steps: the last images as previews, and for each file a "
    "link that works without a token for a while. Give the user the links; the previews are for you."
)
_UPLOAD_TEXT: Final = (
    "Upload an image, a video, a sound or a text, so that workflows can use it. The same bytes get the same path."
)


async def get_outputs(access: ServiceAccess, arguments: OutputsArguments) -> ToolOutcome:
    client = access.client
    try:
        workflow = await client.get(arguments.workflow_id, include_results=True)
    except ResponseTooLarge:
        workflow = await read_briefly(access, arguments.workflow_id)
    steps = [] if workflow.steps is UNSET else workflow.steps
    step_ids = set(arguments.steps)
    if workflow.steps is not UNSET and (unknown := step_ids - {step.step_id for step in steps}):
        raise ToolFailed(f"The workflow has no step {', '.join(sorted(unknown))}.")
    completed_steps = [
        step for step in steps if step.status is StepStatus.COMPLETED and (not step_ids or step.step_id in step_ids)
    ]
    total, others, final = 0, deque[OutputPublic](maxlen=MAX_FILES), deque[OutputPublic](maxlen=MAX_FILES)
    async for output in client.outputs(arguments.workflow_id):
        if not step_ids or any(is_below(output.step_path, step_id) for step_id in step_ids):
            total += 1
            (final if output.final else others).append(output)
    outputs = [*others, *final][-MAX_FILES:]
    results = step_results(completed_steps[-MAX_STEPS:])
    images = await _previews(access, outputs, arguments.width) if arguments.images else {}
    files = [await _file(access, each, is_shown=each.path in images) for each in outputs]
    result = OutputsResult(
        status=workflow.status,
        total_files=total,
        files=files,
        results=results,
        shortened=total > len(files) or len(completed_steps) > len(results) or workflow.steps is UNSET,
    )
    return ToolOutcome(result, list(images.values()))


async def _previews(access: ServiceAccess, outputs: Sequence[OutputPublic], width: int) -> dict[str, Image]:
    """Return previews of the last images by the images' paths, as many as a result may hold."""
    # The final result, at the end, is what the workflow was for. Some of the images have no preview, or a large one.
    candidates = [each for each in outputs if each.media_type.startswith("image/")][-2 * MAX_IMAGES :]
    if candidates:
        await access.reserve(_COPIES * MAX_IMAGES_BYTES)
    images: dict[str, Image] = {}
    rest = MAX_IMAGES_BYTES
    for output in reversed(candidates):
        if len(images) == MAX_IMAGES:
            break
        try:
            data = await access.client.download(output.path, width=width)
        except StepwellError:  # the file isn't an image that has previews; its link is in the result all the same
            continue
        if len(data) <= rest:
            images[output.path] = Image(data, _PREVIEW_TYPE)
            rest -= len(data)
    return dict(reversed(images.items()))


async def _file(access: ServiceAccess, output: OutputPublic, *, is_shown: bool) -> OutputFile:
    link = await access.client.link(output.path)
    return OutputFile(
        step_path=output.step_path,
        final=output.final,
        path=output.path,
        size=output.size,
        media_type=output.media_type,
        url=link.url,
        expires_at=link.expires_at,
        shown=is_shown,
    )


async def upload(access: ServiceAccess, arguments: UploadArguments) -> ToolOutcome:
    return await _upload(access, _decoded(arguments.data), arguments.name)


async def upload_local(access: ServiceAccess, arguments: LocalUploadArguments) -> ToolOutcome:
    if (arguments.path is None) == (arguments.data is None):
        raise ToolFailed("Give either path, or data and name.")
    if arguments.data is not None:
        if arguments.name is None:
            raise ToolFailed("data needs a name, like photo.png.")
        return await _upload(access, _decoded(arguments.data), arguments.name)
    path = await to_thread.run_sync(_media_file, arguments.path or "")
    return await _upload(access, path, arguments.name)


def _media_file(text: str) -> Path:
    """Return the path of a file that may be uploaded. Raises `ToolFailed`.

    Text may not, because it could be a key or a password, which somebody's document made the assistant upload.
    """
    try:
        path = Path(text).expanduser()
        # Opening a pipe could take forever.
        kind = filetype.guess(path) if S_ISREG(path.stat().st_mode) else None
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        raise ToolFailed(f"Cannot read {text}: {getattr(error, 'strerror', None) or error}.") from None
    if kind is None or kind.mime.partition("/")[0] not in ("image", "video", "audio"):
        raise ToolFailed(f"{path} is no image, video or sound. Only such files can be uploaded by their path.")
    return path


async def _upload(access: ServiceAccess, content: bytes | Path, name: str | None) -> ToolOutcome:
    return ToolOutcome(UploadResult(file=await access.client.upload(content, name), next=_NEXT))


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise ToolFailed("data isn't base64. Send the bytes of the file as base64, without line breaks.") from None


FILE_TOOLS: Final = (
    Tool(
        name="get_outputs",
        title="Get files and results",
        description=_OUTPUTS_TEXT,
        arguments=OutputsArguments,
        result=OutputsResult,
        run=get_outputs,
    ),
)
UPLOAD: Final = writing_tool(
    name="upload_file",
    title="Upload a file",
    description=_UPLOAD_TEXT,
    arguments=UploadArguments,
    result=UploadResult,
    run=upload,
)
LOCAL_UPLOAD: Final = replace(
    UPLOAD,
    description=f"{_UPLOAD_TEXT} Give the path of a file of this machine, or its bytes.",
    arguments=LocalUploadArguments,
    run=upload_local,
)
