"""Compares the requests of Stepwell with those of a provider's own client, as an emulator has received them."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from providers.attempts import attempt
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.outbound.http_client import plain_client
from stepwell.ports.providers import Attempt, Job, RemoteProvider
from stepwell.providers.factory import build_providers
from support.emulators.base import Call
from support.emulators.openai import multipart
from support.providers.attempt_io import MemoryIO
from support.providers.emulated import World, world_of
from support.service.installed_settings import read_settings

# Who sends, and how: the manual's table says of these that they always differ.
_OF_THE_SENDER = {"host", "connection", "content-length", "user-agent", "accept", "accept-encoding"}


class Side:
    """Stepwell's own provider at an emulator. `calls` are those that the emulator has received."""

    def __init__(self, world: World, provider: RemoteProvider, io: MemoryIO) -> None:
        self.world, self.provider, self.io = world, provider, io
        self.emulator = world.emulator

    @property
    def calls(self) -> list[Call]:
        calls: list[Call] = self.emulator.calls
        return calls

    def last(self, kind: str) -> Call:
        return [call for call in self.calls if call.kind == kind][-1]

    async def submit(self, work: Attempt) -> tuple[Any, Any]:
        """The request's body, and the answer."""
        request = await self.provider.prepare(work, self.io)
        return request, await self.provider.submit(work, request, self.io)

    async def until_done(self, work: Attempt, job: Job) -> None:
        while (await self.provider.poll(work, job)).status == "running":
            pass


@asynccontextmanager
async def side_of(kind: ProviderType, folder: Path, inputs: Mapping[str, Any] | None = None) -> AsyncIterator[Side]:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(kind, folder))
        client = await stack.enter_async_context(plain_client())
        (provider,) = (each for each in build_providers(read_settings(world.environment), client) if each.type == kind)
        yield Side(world, provider, MemoryIO(client, inputs=dict(inputs or {})))  # type: ignore[arg-type] # it is remote


def differences(own: Call, clients: Call, *ids: str) -> dict[str, tuple[Any, Any]]:
    """What differs in two requests: the value of Stepwell's, and of the client's. None: it has none.

    *ids* are those of the two jobs, which mean the same.
    """
    own_parts, other_parts = _parts(own, ids), _parts(clients, ids)
    names = {**own_parts, **other_parts}
    pairs = {name: (own_parts.get(name), other_parts.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _parts(call: Call, ids: Sequence[str]) -> dict[str, Any]:
    headers = {name: text for name, text in call.headers.items() if name not in _OF_THE_SENDER}
    body: Any
    kind = headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        headers["content-type"] = "multipart/form-data"
        body = {part.name: (part.data, part.filename, part.media_type) for part in multipart(call) or ()}
    else:
        body = json.loads(call.body) if call.body else None
    path = unquote(call.path)
    for each in ids:
        path = path.replace(each, "ID")
    return {
        "method": call.method,
        "path": path,
        **{f"?{name}": text for name, text in call.query.items()},
        **headers,
        **({f"body.{name}": each for name, each in body.items()} if isinstance(body, dict) else {"body": body}),
    }


def drawing(config: dict[str, Any] | None = None, **inputs: Any) -> Attempt:
    return attempt(TaskType.GENERATION, config, prompt="a shoe", **inputs)
