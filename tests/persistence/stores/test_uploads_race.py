"""A deletion of an upload and a create that names it, at the same moment on two connections: one sees the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest

from stepwell.basics.errors import UploadInUse, UploadsGone
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores.uploads import PostgresUploads
from stepwell.rules.uploads import NewUpload, UploadContents, UploadLimits
from support.database.stored_workflows import ME, Bench
from support.workflows.definitions import body, join

LIMITS = UploadLimits(1_000, 100, ttl_s=0)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def uploads(bench: Bench) -> AsyncIterator[PostgresUploads]:
    pool = SmallPool(asyncpg_connect(bench.dsn, timeout_s=10), size=4, timeout_s=10)
    yield PostgresUploads(pool)
    pool.close()


@pytest.fixture
async def other(bench: Bench) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(bench.dsn)
    yield connection
    await connection.close()


async def stored(uploads: PostgresUploads) -> NewUpload:
    upload = NewUpload(
        id=uuid4(),
        tenant="t",
        created_by="alice",
        name="a.png",
        size=1,
        sha256=uuid4().hex,
        contents=UploadContents("image/png"),
    )
    await uploads.reserve(upload, LIMITS)
    assert await uploads.finish(upload.id) is not None
    return upload


def naming(bench: Bench, *uploads: NewUpload) -> NewWorkflow:
    return bench.draft(body(join("a", config={"of": [upload.path for upload in uploads]})), "t", ME)[1]


async def until_waiting(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(60):
        while not await connection.fetchval(WAITING):
            await asyncio.sleep(0.01)


async def test_a_deletion_waits_for_the_reference_of_a_create_and_sees_it(
    bench: Bench, uploads: PostgresUploads, other: asyncpg.Connection
) -> None:
    upload = await stored(uploads)
    new = naming(bench)
    workflow_id = new.record.state.id
    await bench.workflow_store.insert(EVERY_TENANT, new)
    transaction = other.transaction()
    await transaction.start()
    # What a create does, up to its commit.
    await other.execute("SELECT FROM uploads WHERE id = $1 FOR SHARE", upload.id)
    await other.execute("INSERT INTO artifact_references VALUES ($1, $2)", upload.id, workflow_id)
    async with asyncio.TaskGroup() as group:
        deletion = group.create_task(asyncio.wait_for(_refused(uploads, upload), 60), name="deletion")
        await until_waiting(bench.sql)
        expiry = group.create_task(uploads.begin_expiry(upload.id), name="expiry")
        await transaction.commit()
    assert deletion.result() == workflow_id
    assert not expiry.result()
    assert await uploads.find(EVERY_TENANT, upload.id) is not None


async def _refused(uploads: PostgresUploads, upload: NewUpload) -> object:
    with pytest.raises(UploadInUse) as refused:
        await uploads.begin_deletion(EVERY_TENANT, upload.id)
    return refused.value.workflow_id


async def test_no_create_refers_to_an_upload_between_the_look_of_a_deletion_and_its_record(
    bench: Bench, uploads: PostgresUploads, other: asyncpg.Connection
) -> None:
    upload, workflow_id = await stored(uploads), uuid4()
    transaction = other.transaction()
    await transaction.start()
    # Stops the deletion at its UPDATE: rows may be locked nevertheless.
    await other.execute("LOCK TABLE uploads IN SHARE MODE")
    async with asyncio.TaskGroup() as group:
        deletion = uploads.begin_deletion(EVERY_TENANT, upload.id)
        group.create_task(asyncio.wait_for(deletion, 60), name="deletion")
        await until_waiting(bench.sql)
        # What a create does. It would wait for the row, so this one passes over the row instead.
        await other.execute(
            "INSERT INTO artifact_references SELECT id, $2 FROM ("
            "SELECT id FROM uploads WHERE id = $1 AND status = 'STORED' FOR SHARE SKIP LOCKED) AS free",
            upload.id,
            workflow_id,
        )
        await transaction.commit()
    assert await bench.sql.fetchval("SELECT status FROM uploads") == "DELETING"
    assert await bench.sql.fetchval("SELECT count(*) FROM artifact_references") == 0


async def test_a_create_waits_for_a_deletion_and_is_refused(
    bench: Bench, uploads: PostgresUploads, other: asyncpg.Connection
) -> None:
    upload, kept = await stored(uploads), await stored(uploads)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("UPDATE uploads SET status = 'DELETING' WHERE id = $1", upload.id)
    async with asyncio.TaskGroup() as group:
        create = group.create_task(_gone(bench, naming(bench, kept, upload)), name="create")
        await until_waiting(bench.sql)
        await transaction.commit()
    assert create.result() == {upload.id}
    assert await bench.sql.fetchval("SELECT count(*) FROM workflows") == 0


async def _gone(bench: Bench, new: NewWorkflow) -> object:
    with pytest.raises(UploadsGone) as refused:
        await bench.workflow_store.insert(EVERY_TENANT, new)
    return refused.value.upload_ids


async def test_an_upload_stays_between_the_reference_of_a_create_and_its_workflow(
    bench: Bench, uploads: PostgresUploads
) -> None:
    upload = await stored(uploads)
    await bench.sql.execute("INSERT INTO artifact_references VALUES ($1, $2)", upload.id, uuid4())
    await bench.sql.execute("UPDATE uploads SET used_at = now()")
    assert not await uploads.begin_expiry(upload.id)
    await bench.sql.execute("UPDATE uploads SET used_at = now() - interval '2 minutes', expires_at = now()")
    assert await uploads.begin_expiry(upload.id), "that create has failed"


async def test_an_upload_of_an_expired_workflow_goes_to_the_one_that_names_it_or_is_deleted(
    bench: Bench, uploads: PostgresUploads
) -> None:
    """The row of such a workflow is deleted before its uploads, and its references after them."""
    shared, own = await stored(uploads), await stored(uploads)
    expired = uuid4()
    await bench.sql.execute("UPDATE uploads SET workflow_id = $1", expired)
    await bench.sql.execute("INSERT INTO artifact_references SELECT id, $1 FROM uploads", expired)
    second = naming(bench, shared)
    await bench.workflow_store.insert(EVERY_TENANT, second)
    await bench.sql.execute("UPDATE uploads SET used_at = now()")
    begun, _ = await uploads.begin_deletion_with_workflow(expired, 10)
    assert [record.id for record in begun] == [own.id]
    assert (
        await bench.sql.fetchval("SELECT workflow_id FROM uploads WHERE id = $1", shared.id) == second.record.state.id
    )


async def test_many_creates_and_deletions_never_delete_a_file_that_a_workflow_names(
    bench: Bench, uploads: PostgresUploads
) -> None:
    several = [await stored(uploads) for _ in range(4)]

    async def create(turn: int) -> None:
        some = [several[(turn + shift) % 4] for shift in range(2)]
        with suppress(UploadsGone):
            await bench.workflow_store.insert(EVERY_TENANT, naming(bench, *some))

    async def delete(turn: int) -> None:
        await uploads.begin_expiry(several[turn % 4].id)

    async with asyncio.TaskGroup() as group:
        for turn in range(60):
            group.create_task(create(turn), name="create")
            if turn % 3 == 0:
                group.create_task(delete(turn), name="delete")
    deleted = await bench.sql.fetchval(
        "SELECT count(*) FROM uploads AS u JOIN artifact_references AS r ON r.task_id = u.id"
        " JOIN workflows AS w ON w.id = r.workflow_id WHERE u.status <> 'STORED'"
    )
    assert deleted == 0
