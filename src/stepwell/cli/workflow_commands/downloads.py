"""`stepwell outputs`: downloads the files of a workflow into a folder.

What must hold:
- A file appears under its name when it is complete, with the size and the hash that the service has recorded.
- Whatever the service answers, nothing is written outside of the folder.
- A file of any size needs the memory of one chunk.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from msgspec import structs
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from stepwell.cli.errors import FAILED, MISUSED, Refused, os_errors
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.download_names import download_names
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.client import StepOutput, Stepwell
from stepwell.client.download_target import DownloadTarget
from stepwell.domain.artifacts import parse_artifact_path

_CHUNK = 1024 * 1024


class DownloadedFile(StepOutput, frozen=True):
    """A file of a COMPLETED step, and where it is in the local folder."""

    file: str


def download_outputs(context: CommandContext, workflow: str, folder: Path, steps: Sequence[str]) -> None:
    """Download the files of *steps*, or of all steps, into *folder*. Raises `Refused`."""
    outputs = context.client.outputs(context.workflow_id(workflow))
    names = download_names({output.path: output.step_id for output in outputs})
    for step in steps:
        if all(output.step_id != step for output in outputs):
            raise Refused(f"--step {step}: no COMPLETED step of this name has files", code=MISUSED)
    selection = [output for output in outputs if not steps or output.step_id in steps]

    def download_each() -> Iterator[DownloadedFile]:
        with _progress(context, sum(output.size for output in selection)) as advance:
            for output in selection:
                place = folder / names[output.path]
                _download(context.patient_client, output, place, advance)
                yield DownloadedFile(**structs.asdict(output), file=str(place))

    context.show_stream(download_each(), lambda each: plain(each.file))
    if not outputs:
        context.report("No COMPLETED step has files.")


def _download(client: Stepwell, output: StepOutput, place: Path, advance: Callable[[int], None]) -> None:
    if place.parent.is_symlink():
        raise Refused(f"{place.parent} is a link, which may lead elsewhere: remove it, or choose another folder")
    if parse_artifact_path(output.path) is None:
        raise Refused(f"{output.path}: Expected the path of a file from the service, like media/TASK/NAME")
    with os_errors(f"cannot write {place}"):
        place.parent.mkdir(parents=True, exist_ok=True)
        if _is_complete(place, output):
            advance(output.size)
            return
        digest, size = sha256(), 0
        with DownloadTarget(place) as file:
            for chunk in client.chunks(output.path):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                advance(len(chunk))
                if size > output.size:
                    break
            if (size, digest.hexdigest()) != (output.size, output.sha256):
                raise Refused(f"{output.path} is damaged: it has another size or hash than recorded", code=FAILED)
            file.finish()


def _is_complete(place: Path, output: StepOutput) -> bool:
    if not place.is_file() or place.stat().st_size != output.size:
        return False
    digest = sha256()
    with place.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == output.sha256


@contextmanager
def _progress(context: CommandContext, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a bar on stderr by some bytes, if that is a terminal."""
    if not context.messages.is_terminal or context.as_json:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    # The bar redirects what is printed on the same terminal, so that the lines stand above it.
    shared = context.console.is_terminal
    with Progress(*columns, console=context.messages, transient=True, redirect_stdout=shared) as progress:
        task = progress.add_task("Download", total=total)
        yield lambda size: progress.advance(task, size)
