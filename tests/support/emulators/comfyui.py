"""A ComfyUI server, as its server.py and execution.py (https://github.com/Comfy-Org/ComfyUI) have it: prompts, queue,
history, files and the socket that tells of them.

Calls are of the kinds "submit", "upload", "poll" (one job in the history), "list" (the queue, and the whole history),
"file", "cancel" (a job's, the queue's and the interrupt) and "socket". Time passes by polling: a job has ended after
`polls_until_done` polls. Once the socket that it was submitted for is open, it goes on by itself.

Unlike the real one it runs all jobs at once, and doesn't forget when it is started anew what it had taken.
"""

import asyncio
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from support.emulators.base import Call, Emulator, Fault, Reply
from support.emulators.comfyui_graphs import errors_in, graph_for, left_out, outputs_in, refusal
from support.emulators.comfyui_jobs import VIDEO, Run, key_of, outputs_of, picture, progress_of, trouble_of
from support.emulators.comfyui_wire import Sockets, form_of

__all__ = ["VIDEO", "ComfyUiEmulator", "Run", "graph_for", "picture"]

_TICK_S = 0.003
_KINDS = {
    ("POST", "/prompt"): "submit",
    ("POST", "/upload/image"): "upload",
    ("GET", "/queue"): "list",
    ("GET", "/history"): "list",
    ("GET", "/view"): "file",
    ("POST", "/queue"): "cancel",
    ("POST", "/interrupt"): "cancel",
    ("GET", "/ws"): "socket",
}


class ComfyUiEmulator(Emulator):
    """The switches may be turned at any time.

    `token`: the bearer token that a proxy before it asks for. `held`: nothing ends. `busy`: nothing begins.
    `hide_from_listing`: it shows no job whose submit met a fault. `takes_prompt_id`: whether the client may choose it.
    `cancels_jobs`: whether it knows the call for that; `interrupts_by_id`: whether an interrupt may be for one prompt;
    `ignore_cancel`: what runs doesn't heed it. `tells`: how it tells progress. `outputs`: what jobs give, by node,
    instead of their own. `failure`: the type and the words of the exception that a job ends with.
    """

    def __init__(self, folder: Path, *, port: int = 0, token: str | None = None) -> None:
        super().__init__(folder, port=port)
        self.token = token
        self.polls_until_done = 1
        self.hide_from_listing = False
        self.takes_prompt_id = True
        self.cancels_jobs = True
        self.interrupts_by_id = True
        self.ignore_cancel = False
        self.tells: Literal["progress_state", "progress"] = "progress_state"
        self.outputs: dict[str, Any] | None = None
        self.failure: tuple[str, str] | None = None
        self.files: dict[tuple[str, str, str], bytes] = {}  # by type, subfolder and name
        self.busy = False
        self.runs: dict[str, Run] = {}
        self.sockets = Sockets()
        self._held = self._struck = False
        self._loop: asyncio.AbstractEventLoop | None = None
        for number, (job_id, _, body) in enumerate(self.ledger.jobs()):
            self.runs[job_id] = Run(job_id, number, body["prompt"], body.get("extra_data", {}))

    @property
    def held(self) -> bool:
        return self._held

    @held.setter
    def held(self, held: bool) -> None:
        self._held = held
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._resume)

    def _resume(self) -> None:
        self._go_on(*self.runs.values())

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return await super().__aenter__()

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - the base's
        if method == "GET" and path.startswith("/history/"):
            return "poll"
        if method == "POST" and path.startswith("/api/jobs/") and path.endswith("/cancel"):
            return "cancel"
        return _KINDS.get((method, path), "other")

    def error(self, status: int, message: str) -> Reply:
        return Reply(status, refusal("emulated", message, ""))

    def _before(self, fault: Fault | None) -> Reply | None:
        self._struck = fault is not None
        return super()._before(fault)

    async def answer(self, call: Call) -> Reply:
        if not self._admits(call):
            return Reply(401, b"<html>Unauthorized</html>", {"Content-Type": "text/html"})
        match call.kind:
            case "submit":
                return self.posted(call.json())
            case "upload":
                return self._uploaded(call)
            case "poll":
                return self._polled(call.path.rpartition("/")[2])
            case "list" if call.path == "/queue":
                return Reply(200, self.queue_view())
            case "list":
                return Reply(200, dict(list(self._history())[-int(call.query["max_items"]) :]))
            case "file":
                return self._viewed(call.query)
            case "cancel":
                return self._cancelled(call)
            case _:
                return Reply(405 if call.method == "POST" else 404, b"404: Not Found", {"Content-Type": "text/plain"})

    def forget(self, job_id: str) -> None:
        """As if the history were cleared."""
        del self.runs[job_id]
        self._queue_changed()

    async def finish(self, job_id: str) -> None:
        """End it now."""
        if (run := self.runs.get(job_id)) is not None:
            self.end(run)

    def begin(self, job_id: str) -> None:
        """It is taken from the queue."""
        run = self.runs[job_id]
        if not run.started:
            run.started = True
            self._message(run, "execution_start", {})
            self._message(run, "execution_cached", {"nodes": []})
            self._queue_changed()

    # The HTTP calls

    async def takes_over(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if call.kind != "socket" or not self._admits(call):
            return False
        client_id = call.query.get("clientId") or uuid.uuid4().hex
        with self.sockets.accepted(call, client_id, writer) as protocol:
            self.sockets.tell("status", {"status": self._status(), "sid": client_id}, client_id)
            self._resume()
            await self.sockets.serve(protocol, reader, writer)
        return True

    def _admits(self, call: Call) -> bool:
        return self.token is None or call.headers.get("authorization") == f"Bearer {self.token}"

    def posted(self, body: Any) -> Reply:
        graph, wanted = body.get("prompt"), body.get("prompt_id")
        if not isinstance(graph, dict):
            return Reply(400, refusal("no_prompt", "No prompt provided", "No prompt provided"))
        if self.takes_prompt_id and wanted is not None and str(uuid.UUID(wanted)) != wanted:
            return Reply(400, refusal("invalid_prompt_id", "prompt_id must be a valid UUID", ""))
        inputs = {f"{folder}/{name}" if folder else name: data for (kind, folder, name), data in self.files.items()}
        refused = errors_in(graph, inputs)
        # Outputs that can't be made are left out, as long as there is another.
        lost = left_out(refused) if refused is not None else set()
        if refused is not None and (not lost or lost >= outputs_in(graph)):
            return Reply(400, refused)
        job_id = wanted if self.takes_prompt_id and wanted else str(uuid.uuid4())
        extra = {**body.get("extra_data", {}), "create_time": int(time.time() * 1000)}
        extra |= {"client_id": body["client_id"]} if "client_id" in body else {}
        run = Run(job_id, len(self.runs), graph, extra, struck=self._struck, left_out=lost)
        # The same id is run again, and the history has the last alone.
        self.runs[job_id] = run
        taken = sum(job == job_id or job.startswith(f"{job_id}#") for job, _, _ in self.ledger.jobs())
        self.ledger.accept(f"{job_id}#{taken}" if taken else job_id, key_of(graph), body)
        self._queue_changed()
        return Reply(
            200, {"prompt_id": job_id, "number": run.number, "node_errors": refused["node_errors"] if refused else {}}
        )

    def _uploaded(self, call: Call) -> Reply:
        fields = dict(form_of(call))
        name, data = fields["image"]
        folder = fields["subfolder"][1].decode()
        assert fields["overwrite"][1] == b"true"
        self.files["input", folder, name] = data
        return Reply(200, {"name": name, "subfolder": folder, "type": "input"})

    def _polled(self, job_id: str) -> Reply:
        run = self.runs.get(job_id)
        if run is None or not self._shows(run):
            return Reply(200, {})
        self._pass_time(run)
        self._go_on(run)
        return Reply(200, {job_id: run.entry} if run.ended else {})

    def _viewed(self, query: Mapping[str, str]) -> Reply:
        data = self.files.get((query["type"], query.get("subfolder", ""), query["filename"]))
        if data is None:
            return Reply(404, b"", {"Content-Type": "application/octet-stream"})
        ending = query["filename"].rpartition(".")[2]
        return Reply(200, data, {"Content-Type": f"{'video' if ending == 'mp4' else 'image'}/{ending}"})

    def _cancelled(self, call: Call) -> Reply:
        if call.path.startswith("/api/jobs/"):
            if not self.cancels_jobs:
                return Reply(405, b"405: Method Not Allowed", {"Content-Type": "text/plain"})
            job_id = call.path.split("/")[3]
            return Reply(200, {"cancelled": self._deleted(job_id) or self._interrupted(job_id)})
        if call.path == "/queue":
            for job_id in call.json()["delete"]:
                self._deleted(job_id)
        else:
            wanted = call.json().get("prompt_id") if self.interrupts_by_id else None
            for job_id in list(self.runs) if wanted is None else [wanted]:
                self._interrupted(job_id)
        return Reply(200, b"")

    def _deleted(self, job_id: str) -> bool:
        """Whether it was waiting."""
        run = self.runs.get(job_id)
        if run is None or run.started or run.ended:
            return False
        del self.runs[job_id]
        self._queue_changed()
        return True

    def _interrupted(self, job_id: str) -> bool:
        """Whether it was running."""
        run = self.runs.get(job_id)
        if run is None or not run.started or run.ended:
            return False
        if not self.ignore_cancel:
            self.interrupt(run)
        return True

    def queue_view(self) -> dict[str, Any]:
        waiting = [run for run in self.runs.values() if not run.ended and self._shows(run)]
        return {
            "queue_running": [run.prompt for run in waiting if run.started],
            "queue_pending": [run.prompt for run in waiting if not run.started],
        }

    def _history(self) -> Iterator[tuple[str, Any]]:
        return ((run.id, run.entry) for run in self.runs.values() if run.ended and self._shows(run))

    def _shows(self, run: Run) -> bool:
        return not (run.struck and self.hide_from_listing)

    # What becomes of a job

    def _pass_time(self, run: Run) -> None:
        if run.ended or (self.busy and not run.started):
            return
        self.begin(run.id)
        run.polls += 1
        if self._held:
            return
        for kind, data in progress_of(run, min(run.polls / self.polls_until_done, 1.0), self.tells):
            self._say(run, kind, data)
        if run.polls >= self.polls_until_done:
            self.end(run)

    def _go_on(self, *runs: Run) -> None:
        """By themselves, while somebody listens."""
        for run in runs:
            if run.started and not (run.ended or run.ticking or self._held) and run.client_id in self.sockets.open:
                run.ticking = True
                asyncio.get_running_loop().call_later(_TICK_S, self._tick, run)

    def _tick(self, run: Run) -> None:
        run.ticking = False
        if self.runs.get(run.id) is run:
            self._pass_time(run)
            self._go_on(run)

    def end(self, run: Run) -> None:
        if run.ended:
            return
        self.begin(run.id)
        if self.failure is not None:
            self._close(run, "error", "execution_error", trouble_of(run, *self.failure))
            return
        run.outputs = outputs_of(run, self.put) if self.outputs is None else self.outputs
        for node, output in run.outputs.items():
            self._say(run, "executed", {"node": node, "display_node": node, "output": output})
        self._close(run, "success", "execution_success", {})

    def interrupt(self, run: Run) -> None:
        self._close(run, "error", "execution_interrupted", trouble_of(run))

    def _close(self, run: Run, status: str, kind: str, data: Mapping[str, Any]) -> None:
        self._message(run, kind, data)
        run.status, run.ended = status, True
        self._queue_changed()
        self._say(run, "executing", {"node": None})

    def _message(self, run: Run, kind: str, data: Mapping[str, Any]) -> None:
        """One that the history keeps too."""
        data = {**data, "prompt_id": run.id, "timestamp": int(time.time() * 1000)}
        run.messages.append([kind, data])
        self._say(run, kind, data)

    def _say(self, run: Run, kind: str, data: Mapping[str, Any]) -> None:
        if (client_id := run.client_id) is not None:
            self.sockets.tell(kind, {**data, "prompt_id": run.id}, client_id)

    def _queue_changed(self) -> None:
        self.sockets.tell("status", {"status": self._status()})

    def _status(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": sum(not run.ended for run in self.runs.values())}}

    def put(self, name: str, data: bytes, *, subfolder: str = "", type_: str = "output") -> dict[str, Any]:
        """A file of the server's, as the history names it."""
        self.files[type_, subfolder, name] = data
        return {"filename": name, "subfolder": subfolder, "type": type_}
