"""Processes that check tokens with the keys of a JWKS URL."""

import asyncio
from pathlib import Path

import httpx
import jwt

from support.database.postgres import TestServer, create_database
from support.emulators.key_server import FETCH, KeyServer, public_jwk
from support.processes.stepwell_process import StepwellProcess, start, start_up, stepwell
from support.service.raw_tokens import CLAIMS, ED, ED_PUBLIC

ED_JWK = public_jwk(ED_PUBLIC, "EdDSA", kid="one")
LIST = "/api/v1/workflows/"


async def status(running: StepwellProcess, bearer: str, method: str = "GET") -> int:
    async with httpx.AsyncClient(base_url=running.url, headers={"Authorization": f"Bearer {bearer}"}) as client:
        return (await client.request(method, LIST)).status_code


async def test_serve_accepts_tokens_by_a_key_set_and_gives_them_the_default_scope(
    durable: TestServer, data_dir: Path, tmp_path: Path
) -> None:
    async with KeyServer(tmp_path) as server:
        server.keys = [ED_JWK]
        env = {
            "STEPWELL_DATABASE_URL": durable.dsn(await create_database(durable.dsn())),
            "STEPWELL_JWT_JWKS_URL": server.address,
            "STEPWELL_JWT_DEFAULT_SCOPE": "workflows:read tenants:all",
            "STEPWELL_URL_SECRET": "a secret that signs the addresses of files",
        }
        serving = start("serve", data_dir, env)
        try:
            await asyncio.to_thread(serving.wait_ready)
            claims = {name: value for name, value in CLAIMS.items() if name not in ("scope", "tenant_id")}
            bearer = jwt.encode(claims, ED, "EdDSA", {"kid": "one"})
            assert [await status(serving, bearer), await status(serving, bearer, "POST")] == [200, 403]
            assert await asyncio.to_thread(serving.terminate) == 0
        finally:
            serving.kill_group()


async def test_up_accepts_its_own_tokens_beside_those_of_a_key_set(migrated_dir: Path, tmp_path: Path) -> None:
    async with KeyServer(tmp_path) as server:
        server.keys = [ED_JWK]
        env = {"STEPWELL_JWT_JWKS_URL": server.address}
        up = start_up(migrated_dir, env)
        try:
            await asyncio.to_thread(up.wait_ready)
            made = await asyncio.to_thread(stepwell, "token", "--data-dir", migrated_dir, env=env)
            assert [await status(up, up.token), await status(up, made.stdout.strip())] == [200, 200]
            assert server.count(FETCH) == 0
            assert await status(up, jwt.encode(CLAIMS, ED, "EdDSA", {"kid": "one"})) == 200
            assert server.count(FETCH) == 1
            assert await asyncio.to_thread(up.terminate) == 0
        finally:
            up.kill_group()
