"""`stepwell upload` sends files to the service. `stepwell outputs` downloads the files of a workflow into a folder.

What must hold:
- A file appears under its name when it is complete, with the size and the hash that the service has recorded.
- Whatever the service responds, nothing is written outside of the folder.
- A file of any size needs the memory of one chunk.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath

from msgspec import structs
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from stepwell.basics.artifacts import parse_artifact_path
from stepwell.basics.folder_names import is_below, is_step_path, unique_names
from stepwell.cli.errors import FAILED, MISUSED, Refused, os_errors
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.client import OutputPublic, Stepwell
from stepwell.client.transfers import DownloadTarget
from stepwell.contract.files import ArtifactPublic

_CHUNK = 1024 * 1024


class DownloadedFile(OutputPublic, frozen=True):
    """An output of a workflow, and where it is in the local folder."""

    file: str


def download_outputs(context: CommandContext, workflow: str, folder: Path | None, steps: Sequence[str]) -> None:
    """Download the files of *steps*, or of all steps, into *folder*; None: one named by the id. Raises `Refused`."""
    workflow_id = context.workflow_id(workflow)
    outputs = list(context.client.outputs(workflow_id))
    target = Path(str(workflow_id)) if folder is None else folder
    for step in steps:
        if not any(is_below(output.step_path, step) for output in outputs):
            raise Refused(f"--step {step}: no COMPLETED step of this id or path has files", code=MISUSED)
    files = [
        each for each in _local_paths(outputs) if not steps or any(is_below(each[0].step_path, step) for step in steps)
    ]

    def download_each() -> Iterator[DownloadedFile]:
        with _progress(context, sum(output.size for output, _ in files)) as advance:
            for output, path in files:
                _download(context.patient_client, output, target, path, advance)
                yield DownloadedFile(**structs.asdict(output), file=str(target / path))

    context.show_stream(download_each(), lambda each: plain(each.file))
    if not outputs:
        context.report("No COMPLETED step has files.")


def _local_paths(outputs: Sequence[OutputPublic]) -> list[tuple[OutputPublic, PurePosixPath]]:
    """Return each file with its path in the folder. No path leads out of the folder, and no two are the same."""
    of_step: dict[str, list[OutputPublic]] = defaultdict(list)
    for output in outputs:
        if not is_step_path(output.step_path):
            raise Refused(f"{output.step_path}: Expected the path of a step from the service, like each/0/large")
        of_step[output.step_path].append(output)
    return [
        (output, PurePosixPath(step_path, name))
        for step_path, files in of_step.items()
        for output, name in zip(files, unique_names(each.name for each in files), strict=True)
    ]


def _download(
    client: Stepwell, output: OutputPublic, folder: Path, name: PurePosixPath, advance: Callable[[int], None]
) -> None:
    path = folder / name
    for above in map(folder.joinpath, list(name.parents)[:-1]):  # the last one is the folder itself
        if above.is_symlink():
            raise Refused(f"{above} is a link, which may lead elsewhere: remove it, or choose another folder")
    if parse_artifact_path(output.path) is None:
        raise Refused(f"{output.path}: Expected the path of a file from the service, like media/TASK/NAME")
    with os_errors(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_complete(path, output):
            advance(output.size)
            return
        digest, size = sha256(), 0
        with DownloadTarget(path) as file:
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


def _is_complete(path: Path, output: OutputPublic) -> bool:
    if not path.is_file() or path.stat().st_size != output.size:
        return False
    digest = sha256()
    with path.open("rb") as file:
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
    on_terminal = context.console.is_terminal
    with Progress(*columns, console=context.messages, transient=True, redirect_stdout=on_terminal) as progress:
        task = progress.add_task("Download", total=total)
        yield lambda size: progress.advance(task, size)


def upload(context: CommandContext, files: Sequence[Path], tenant: str | None) -> None:
    """Upload *files*, and print the path of each as soon as it is stored. Raises `Refused`."""
    client = context.client

    def upload_each() -> Iterator[ArtifactPublic]:
        for file in files:
            with os_errors(f"cannot read {file}"):
                artifact = client.upload(file, origin_tenant_id=tenant)
            yield artifact

    context.show_stream(upload_each(), lambda artifact: plain(artifact.path))
