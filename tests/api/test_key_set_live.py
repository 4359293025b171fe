"""A service that checks tokens with the keys of a JWKS URL: rotation, outages, and tokens that must not pass."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from stepwell.api.auth.token_keys import FETCH_PAUSE_S, FRESH_S
from stepwell.testing import ManualClock, MemoryDatabase
from support.emulators.base import Fault, Reply
from support.emulators.key_server import FETCH, KeyServer, public_jwk
from support.providers.scripted import eventually
from support.service.conformance import conforming_client
from support.service.live_service import Service, running_service, token
from support.service.raw_tokens import (
    CLAIMS,
    EC,
    EC_PUBLIC,
    ED,
    ED_PUBLIC,
    OTHER_RSA,
    RSA,
    RSA_PUBLIC,
    header,
    pems,
    unsigned,
)

LIST = "/api/v1/workflows/"
NEW, NEW_PUBLIC = pems(ec.generate_private_key(ec.SECP256R1()))
RSA_JWK = public_jwk(RSA_PUBLIC, "RS256", kid="rsa", use="sig", alg="RS256")
EC_JWK = public_jwk(EC_PUBLIC, "ES256", kid="ec")
ED_JWK = public_jwk(ED_PUBLIC, "EdDSA", kid="ed")
NEW_JWK = public_jwk(NEW_PUBLIC, "ES256", kid="new")
UNKNOWN = "The key set has no key for the token: kid must name one of its keys, and alg that key's algorithm."


def signed(key: str, algorithm: str, kid: Any = None) -> str:
    return jwt.encode(CLAIMS, key, algorithm, headers=None if kid is None else {"kid": kid})


RSA_TOKEN, EC_TOKEN, ED_TOKEN = signed(RSA, "RS256", "rsa"), signed(EC, "ES256", "ec"), signed(ED, "EdDSA", "ed")
NEW_TOKEN = signed(NEW, "ES256", "new")


class World:
    """A service, the server of its keys, and the clock of both."""

    def __init__(self, service: Service, server: KeyServer, clock: ManualClock) -> None:
        self.service, self.server, self.clock = service, server, clock

    async def get(self, bearer: str) -> httpx.Response:
        async with conforming_client(self.service.app.api, bearer) as client:
            return await client.get(LIST)

    async def statuses(self, *bearers: str) -> list[int]:
        return [(await self.get(bearer)).status_code for bearer in bearers]

    async def fetched(self, times: int) -> None:
        """Wait until the keys have been fetched so many times, and the response has been read."""
        await eventually(lambda: self.server.count(FETCH) == times)


@asynccontextmanager
async def key_set_world(folder: Path, *keys: dict[str, Any]) -> AsyncIterator[World]:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(KeyServer(folder))
        server.keys = list(keys)
        running = running_service(MemoryDatabase(clock), folder / "data", jwt_jwks_url=server.address)
        yield World(await stack.enter_async_context(running), server, clock)


async def test_keys_of_all_three_kinds_verify_tokens_and_are_fetched_once(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK, EC_JWK, ED_JWK) as world:
        assert world.server.count(FETCH) == 0, "nobody needed them"
        assert await world.statuses(RSA_TOKEN, EC_TOKEN, ED_TOKEN, RSA_TOKEN) == [200] * 4
        assert world.server.count(FETCH) == 1


async def test_a_new_key_is_fetched_at_most_every_30_seconds(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK) as world:
        assert await world.statuses(RSA_TOKEN) == [200]
        world.server.keys.append(NEW_JWK)
        response = await world.get(NEW_TOKEN)
        assert (response.status_code, response.json()["detail"], world.server.count(FETCH)) == (401, UNKNOWN, 1)
        world.clock.advance(FETCH_PAUSE_S)
        assert await world.statuses(NEW_TOKEN, RSA_TOKEN) == [200, 200]
        assert world.server.count(FETCH) == 2


async def test_a_key_that_has_left_the_set_verifies_no_more_tokens(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK, EC_JWK) as world:
        assert await world.statuses(RSA_TOKEN, EC_TOKEN) == [200, 200]
        world.server.keys.remove(RSA_JWK)
        world.clock.advance(FRESH_S)
        assert await world.statuses(EC_TOKEN) == [200]
        await world.fetched(2)
        await eventually_status(world, RSA_TOKEN, 401)
        assert await world.statuses(EC_TOKEN) == [200]
        assert world.server.count(FETCH) == 2


async def eventually_status(world: World, bearer: str, status: int) -> None:
    async with asyncio.timeout(30):
        while (await world.get(bearer)).status_code != status:
            await asyncio.sleep(0.01)


async def test_a_token_without_a_key_id_needs_the_only_key_of_its_algorithm(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK, EC_JWK, NEW_JWK) as world:
        assert await world.statuses(signed(RSA, "RS256"), signed(EC, "ES256"), signed(NEW, "ES256")) == [200, 401, 401]


async def test_tokens_that_are_forged_or_mislabelled_are_refused(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK, EC_JWK, ED_JWK) as world:
        assert await world.statuses(RSA_TOKEN) == [200]
        own = {"alg": "HS256", "kid": "rsa"}
        forged = [
            signed(OTHER_RSA, "RS256", "rsa"),
            *(signed(RSA, algorithm, "rsa") for algorithm in ("RS384", "RS512", "PS256")),
            *(signed(EC, "ES256", kid) for kid in ("rsa", "ed", "EC", "", "ec ")),
            *(header(json.dumps(own), key.encode()) for key in (RSA_PUBLIC, json.dumps(RSA_JWK), "", "x" * 32)),
            *(
                header(json.dumps({"alg": alg, "kid": "rsa"}))
                for alg in ("RS256", "none", "", None, 1, ["RS256"], "HS512")
            ),
            *(
                header(text)
                for text in ('{"alg":"ES256","kid":1}', '{"alg":"ES256","kid":null,"kid":"ec"}', "[]", "{", "")
            ),
            *(unsigned("none"), unsigned("RS256"), "a.b.c", ".."),
        ]
        for bearer in forged:
            assert (await world.get(bearer)).status_code == 401, bearer
        assert world.server.count(FETCH) == 1


async def test_tokens_of_the_services_own_secret_need_no_key_set(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK) as world:
        world.server.always(FETCH, Fault.LOSE_BEFORE)
        assert await world.statuses(token()) == [200]
        assert world.server.count(FETCH) == 0


async def test_without_any_known_key_a_token_is_a_503(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK) as world:
        world.server.plan(FETCH, Fault.LOSE_BEFORE)
        response = await world.get(RSA_TOKEN)
        assert (response.status_code, response.headers["retry-after"]) == (503, "30")
        assert response.json()["detail"] == "The keys that verify tokens can't be fetched now."
        world.clock.advance(10)
        response = await world.get(RSA_TOKEN)
        assert (response.status_code, response.headers["retry-after"], world.server.count(FETCH)) == (503, "20", 1)
        world.clock.advance(20)
        assert await world.statuses(RSA_TOKEN) == [200]


HUGE_SET = Reply(body=json.dumps({"keys": [NEW_JWK] * 100_000}).encode())


@pytest.mark.parametrize(
    "trouble",
    [
        *(Fault.LOSE_BEFORE, Fault.TRUNCATE_AFTER, Fault.HUGE_AFTER, Fault.GARBAGE_AFTER, Fault.BROKEN),
        Reply(302, b"", {"Location": "http://169.254.169.254/latest"}),
        *(HUGE_SET, Reply(body=b"[" * 200_000), Reply(body={"keys": []}), Reply(body=b""), Reply(body=[NEW_JWK])),
        Reply(body={"keys": [NEW_JWK | {"crv": "P-999"}, NEW_JWK | {"use": "enc"}]}),
    ],
    ids=[
        *("lost", "truncated", "endless", "garbage", "broken", "redirect", "too many keys", "deep"),
        *("no keys", "empty", "list", "no usable key"),
    ],
)
async def test_known_keys_are_used_while_the_url_is_broken_or_hostile(tmp_path: Path, trouble: Fault | Reply) -> None:
    async with key_set_world(tmp_path, RSA_JWK) as world:
        assert await world.statuses(RSA_TOKEN) == [200]
        if isinstance(trouble, Fault):
            world.server.always(FETCH, trouble)
        else:
            world.server.reply = trouble
        for times in (2, 3):
            world.clock.advance(FRESH_S)
            assert await world.statuses(RSA_TOKEN) == [200]
            await world.fetched(times)
            assert (await world.get(NEW_TOKEN)).status_code == 503
            assert await world.statuses(RSA_TOKEN) == [200]
            assert world.server.count(FETCH) == times
        world.server.always(FETCH, None)
        world.server.reply = None
        world.server.keys.append(NEW_JWK)
        world.clock.advance(FETCH_PAUSE_S)
        assert await world.statuses(NEW_TOKEN, RSA_TOKEN) == [200, 200]


async def test_a_slow_url_delays_no_token_with_a_known_key_and_is_asked_once_at_a_time(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK) as world:
        assert await world.statuses(RSA_TOKEN) == [200]
        world.server.keys.append(NEW_JWK)
        world.server.always(FETCH, Fault.HANG_AFTER)
        world.clock.advance(FRESH_S)
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(world.get(NEW_TOKEN)) for _ in range(20)]
            await world.fetched(2)
            world.clock.advance(FRESH_S)
            assert await world.statuses(*[RSA_TOKEN] * 5) == [200] * 5
            assert not any(asyncio_task.done() for asyncio_task in waiting)
            world.server.always(FETCH, None)
            world.server.let_go()
        assert {asyncio_task.result().status_code for asyncio_task in waiting} == {200}
        assert world.server.count(FETCH) == 2


async def test_a_service_stops_while_keys_are_being_fetched(tmp_path: Path) -> None:
    async with key_set_world(tmp_path, RSA_JWK) as world:
        assert await world.statuses(RSA_TOKEN) == [200]
        world.server.always(FETCH, Fault.HANG_AFTER)
        world.clock.advance(FRESH_S)
        assert await world.statuses(RSA_TOKEN) == [200]
        await world.fetched(2)
