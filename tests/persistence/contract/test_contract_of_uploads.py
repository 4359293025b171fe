"""Uploads in the database: within the limits, stored once for the same bytes, deleted only if nobody needs them."""

import asyncio
from hashlib import sha256
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from stepwell.basics.errors import NotFound, QuotaExceeded, UploadInUse, UploadsGone
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.lifecycle.inputs import Cleanup
from stepwell.ports.uploads import Uploads
from stepwell.rules.uploads import (
    NewUpload,
    PresignedUpload,
    UploadContents,
    Uploader,
    UploadLimits,
    UploadRecord,
    UploadUse,
)
from support.database.stored_workflows import Stored
from support.workflows.definitions import body, join

LIMITS = UploadLimits(quota_bytes=100, max_uploads=3, ttl_s=3_600)
SHORT = UploadLimits(quota_bytes=100, max_uploads=3, ttl_s=0)

UPLOADER = Uploader("t", "alice")


def new(
    text: str = "a",
    *,
    tenant: str | None = "t",
    by: str = "alice",
    private: bool = False,
    size: int = 10,
    workflow_id: UUID | None = None,
) -> NewUpload:
    return NewUpload(
        id=uuid4(),
        tenant=tenant,
        created_by=by,
        private=private,
        name="a.png",
        size=size,
        sha256=sha256(text.encode()).hexdigest(),
        contents=UploadContents("image/png", 4, 3),
        workflow_id=workflow_id,
    )


async def stored_upload(uploads: Uploads, upload: NewUpload, limits: UploadLimits = LIMITS) -> UploadRecord:
    await uploads.reserve(upload, limits)
    record = await uploads.finish(upload.id)
    assert record is not None
    return record


def naming(path: str) -> dict[str, object]:
    return body(join("a", config={"of": path}))


async def test_a_subject_finds_only_its_own_uploads(stored: Stored) -> None:
    uploads, presigned = stored.here.uploads, PresignedUpload(uuid4(), UPLOADER, "a", 10)
    await uploads.reserve_presigned(presigned, LIMITS, 1)
    record = await stored_upload(uploads, new())
    for subject, found in (("alice", True), ("bob", False)):
        scope = TenantScope("t", subject=subject)
        assert (await uploads.find(scope, record.id) is not None) == found
        assert (await uploads.find_presigned(scope, presigned.id) is not None) == found
        assert await uploads.stored_paths(scope, [record.id]) == [record.path] * found
        assert (await uploads.page(scope, 0, 5)).total == found
    with pytest.raises(NotFound):
        await uploads.begin_deletion(TenantScope("t", subject="bob"), record.id)
    assert await uploads.find(TenantScope("u", subject="alice"), record.id) is None


async def test_a_run_that_may_not_read_an_upload_does_not_keep_it(stored: Stored) -> None:
    uploads = stored.here.uploads
    of_alice, of_bob, named = [
        await stored_upload(uploads, new(name, by=name), UploadLimits(100, 9, 60)) for name in ("alice", "bob", "carl")
    ]
    texts = [upload.path for upload in (of_alice, of_bob, named)]
    _, run = stored.draft(body(join("a", config={"of": texts})), "t", None)
    await stored.workflow_store.insert(EVERY_TENANT, structs.replace(run, named_files=[named.path]))
    for upload in (of_alice, named):
        with pytest.raises(UploadInUse):
            await uploads.begin_deletion(EVERY_TENANT, upload.id)
    await uploads.begin_deletion(EVERY_TENANT, of_bob.id)


async def test_private_uploads_are_the_same_only_as_those_of_their_subject(stored: Stored) -> None:
    uploads, sha, limits = stored.here.uploads, new().sha256, UploadLimits(100, 9, 60)
    kinds = [(by, private) for by in ("alice", "bob") for private in (True, False)]
    for by, private in kinds[:3]:
        uploader = Uploader("t", by, private)
        assert await uploads.find_same(uploader, sha, own=True) is None
        record = await stored_upload(uploads, new(by=by, private=private), limits)
        same = await uploads.find_same(uploader, sha, own=True)
        assert same is not None
        assert (same.id, same.uploader) == (record.id, uploader)
        await uploads.reserve(again := new(by=by, private=private), limits)
        assert await uploads.finish(again.id) is None
    of_alice = await uploads.find_same(Uploader("t", "bob"), sha, own=True)
    assert of_alice is not None
    assert of_alice.uploader == Uploader("t", "alice")


async def test_an_upload_can_be_read_once_its_file_is_stored_and_only_by_its_tenant(stored: Stored) -> None:
    uploads, upload = stored.here.uploads, new()
    await uploads.reserve(upload, LIMITS)
    assert await uploads.find(EVERY_TENANT, upload.id) is None
    assert await uploads.recorded([upload.id, uuid4()]) == [upload.path]
    assert await uploads.stored_paths(EVERY_TENANT, [upload.id]) == []
    record = await uploads.finish(upload.id)
    assert record is not None
    assert (record.path, record.size, record.contents) == (upload.path, 10, upload.contents)
    assert (record.expires_at - record.created_at).total_seconds() >= 3_600
    assert await uploads.finish(upload.id) is None, "it is no longer pending"
    in_scopes = [await uploads.stored_paths(scope, [upload.id]) for scope in (TenantScope("t"), TenantScope("u"))]
    assert in_scopes == [[upload.path], []]
    assert await uploads.find(TenantScope("t"), upload.id) == record
    for scope in (TenantScope("u"), TenantScope()):
        assert await uploads.find(scope, upload.id) is None
        with pytest.raises(NotFound):
            await uploads.begin_deletion(scope, upload.id)


async def test_the_same_bytes_are_stored_once_for_each_tenant(stored: Stored) -> None:
    uploads, first, second = stored.here.uploads, new(), new()
    for upload in (first, second):
        await uploads.reserve(upload, LIMITS)
    records = await asyncio.gather(uploads.finish(first.id), uploads.finish(second.id))
    assert sum(record is not None for record in records) == 1
    same = await uploads.find_same(UPLOADER, first.sha256, own=True)
    assert same is not None
    assert same.id in {record.id for record in records if record is not None}
    for tenant in ("u", None, ""):
        assert await uploads.find_same(Uploader(tenant, "alice"), first.sha256, own=True) is None
        await stored_upload(uploads, new(tenant=tenant))
    loser = second if records[0] else first
    assert await uploads.abandon(loser.id)
    assert not await uploads.abandon(loser.id)


async def test_concurrent_uploads_never_exceed_the_quota_or_the_number(stored: Stored) -> None:
    uploads = stored.here.uploads
    for limits, expected in ((UploadLimits(45, 100, 60), 4), (UploadLimits(1_000, 6, 60), 2)):
        attempts = [new(uuid4().hex) for _ in range(10)]
        outcomes = await asyncio.gather(
            *(uploads.reserve(upload, limits) for upload in attempts), return_exceptions=True
        )
        assert sum(outcome is None for outcome in outcomes) == expected
        assert {type(outcome) for outcome in outcomes if outcome is not None} == {QuotaExceeded}
    await uploads.reserve(new(tenant="u"), UploadLimits(45, 100, 60))
    with pytest.raises(QuotaExceeded):
        await uploads.reserve(new(tenant="v", size=46), UploadLimits(45, 100, 60))


async def test_the_tenant_with_an_empty_name_shares_the_quota_of_no_tenant(stored: Stored) -> None:
    uploads = stored.here.uploads
    await uploads.reserve(new("a", tenant=None, size=60), LIMITS)
    with pytest.raises(QuotaExceeded):
        await uploads.reserve(new("b", tenant="", size=60), LIMITS)


async def test_a_deletion_frees_the_bytes_with_those_of_previews(stored: Stored) -> None:
    uploads, upload = stored.here.uploads, new(size=60)
    await stored_upload(uploads, upload)
    await uploads.charge_preview(upload.id, 40, LIMITS)
    assert (await uploads.use("t"), await uploads.use("u")) == (UploadUse(100, 1), UploadUse())
    with pytest.raises(QuotaExceeded):
        await uploads.charge_preview(upload.id, 1, LIMITS)
    with pytest.raises(NotFound):
        await uploads.charge_preview(uuid4(), 1, LIMITS)
    await uploads.begin_deletion(TenantScope("t"), upload.id)
    with pytest.raises(QuotaExceeded):
        await uploads.reserve(new("b"), LIMITS)
    for _ in range(2):
        await uploads.end_deletion(upload.id)
    assert await uploads.use("t") == UploadUse()
    await uploads.reserve(new("b", size=100), LIMITS)
    assert await uploads.recorded([upload.id]) == []


async def test_a_page_is_newest_first_and_counts_all_of_the_scope(stored: Stored) -> None:
    uploads = stored.here.uploads
    records = [await stored_upload(uploads, new(text)) for text in "abc"]
    foreign = await stored_upload(uploads, new("a", tenant=None))
    await uploads.reserve(new("pending", tenant=None), LIMITS)
    page = await uploads.page(TenantScope("t"), 1, 1)
    assert (page.uploads, page.total) == ([records[1]], 3)
    assert (await uploads.page(TenantScope(), 0, 10)).uploads == [foreign]
    assert (await uploads.page(EVERY_TENANT, 0, 10)).uploads == [foreign, *reversed(records)]
    assert (await uploads.page(TenantScope("u"), 0, 10)).total == 0


async def test_an_upload_stays_while_an_undeleted_workflow_of_its_tenant_names_it(stored: Stored) -> None:
    uploads = stored.here.uploads
    record = await stored_upload(uploads, new(), SHORT)
    workflow = await stored.make(naming(record.path), owner=None)
    with pytest.raises(UploadInUse) as refused:
        await uploads.begin_deletion(TenantScope("t"), record.id)
    assert refused.value.workflow_id == workflow.workflow_id
    assert await uploads.due(10) == [record.id]
    assert not await uploads.begin_expiry(record.id)
    await stored.write(workflow, Cleanup("alice", cleanup_tasks=False))
    assert await uploads.begin_expiry(record.id)
    assert await uploads.find(EVERY_TENANT, record.id) is None


async def test_a_workflow_of_another_tenant_keeps_no_upload(stored: Stored) -> None:
    uploads = stored.here.uploads
    record = await stored_upload(uploads, new())
    await stored.make(naming(record.path), tenant="u", owner=None)
    await uploads.begin_deletion(TenantScope("t"), record.id)


async def test_a_new_workflow_prolongs_the_life_of_an_upload(stored: Stored) -> None:
    uploads = stored.here.uploads
    record = await stored_upload(uploads, new())
    await stored.make(naming(record.path), owner=None)
    used = await uploads.find(EVERY_TENANT, record.id)
    assert used is not None
    assert used.expires_at > record.expires_at
    assert not await uploads.begin_expiry(record.id)


async def test_an_upload_that_was_used_meanwhile_is_not_taken_back(stored: Stored) -> None:
    uploads = stored.here.uploads
    record = await stored_upload(uploads, new())
    used = await uploads.find_same(UPLOADER, record.sha256, own=True)
    assert used is not None
    with pytest.raises(NotFound):
        await uploads.begin_deletion(EVERY_TENANT, record.id, record.expires_at)
    await uploads.begin_deletion(EVERY_TENANT, record.id, used.expires_at)


async def test_a_new_workflow_that_names_a_deleted_upload_is_refused(stored: Stored) -> None:
    uploads = stored.here.uploads
    record = await stored_upload(uploads, new())
    await uploads.begin_deletion(EVERY_TENANT, record.id)
    with pytest.raises(UploadsGone) as refused:
        await stored.make(naming(record.path), owner=None)
    assert refused.value.upload_ids == {record.id}
    await stored.make(naming(record.path), tenant="u", owner=None)  # to it, the file is unknown in any case
    await uploads.end_deletion(record.id)
    await stored.make(naming(record.path), owner=None)  # its step fails, as for any file that doesn't exist


async def test_an_upload_of_a_data_uri_becomes_the_users_own_if_the_user_sends_it(stored: Stored) -> None:
    uploads, workflow_id = stored.here.uploads, uuid4()
    record = await stored_upload(uploads, new(workflow_id=workflow_id))
    for own, expected in ((False, workflow_id), (True, None), (False, None)):
        same = await uploads.find_same(UPLOADER, record.sha256, own=own)
        assert same is not None
        assert (same.id, same.workflow_id) == (record.id, expected)


async def test_what_was_interrupted_is_due_later(stored: Stored) -> None:
    uploads, pending = stored.here.uploads, new("a")
    assert await uploads.next_due_s() is None
    await uploads.reserve(pending, LIMITS)
    seconds = await uploads.next_due_s()
    assert seconds is not None
    assert 3_600 < seconds <= 7_200
    assert await uploads.due(10) == []
    record = await stored_upload(uploads, new("b"), SHORT)
    assert await uploads.due(10) == [record.id]
    assert await uploads.begin_expiry(record.id)
    assert await uploads.due(10) == [], "its deletion is continued later"
    seconds = await uploads.next_due_s()
    assert seconds is not None
    assert 0 < seconds <= 300


async def test_an_upload_of_a_definition_is_deleted_with_the_last_workflow_that_names_it(stored: Stored) -> None:
    uploads = stored.here.uploads
    first_id = uuid4()
    shared, own = [await stored_upload(uploads, new(text, workflow_id=first_id)) for text in "ab"]
    users = await stored_upload(uploads, new("c"))
    second = await stored.make(naming(shared.path), owner=None)
    assert list(await stored.here.purges.with_uploads([first_id, second.workflow_id])) == [first_id]
    begun, more = await uploads.begin_deletion_with_workflow(first_id, 2)
    assert ([(record.id, record.path) for record in begun], more) == ([(own.id, own.path)], True)
    recorded = await uploads.recorded([shared.id, own.id, users.id])
    assert sorted(recorded) == sorted([shared.path, users.path])
    assert await uploads.begin_deletion_with_workflow(first_id, 2) == ([], False)
    begun, more = await uploads.begin_deletion_with_workflow(second.workflow_id, 2)
    assert (begun, more) == ([], False), "it isn't deleted yet"
    await stored.write(second, Cleanup("alice", cleanup_tasks=True))
    begun, _ = await uploads.begin_deletion_with_workflow(second.workflow_id, 2)
    assert [record.id for record in begun] == [shared.id]
    assert await uploads.recorded([shared.id, users.id]) == [users.path]


async def test_the_row_of_a_deleted_upload_stays_while_its_url_can_write_the_file(stored: Stored) -> None:
    uploads = stored.here.uploads
    for url_s, stays in ((-8_000.0, False), (60.0, True)):
        presigned = PresignedUpload(uuid4(), UPLOADER, "a", 50)
        await uploads.reserve_presigned(presigned, LIMITS, url_s)
        assert await uploads.find_presigned(TenantScope("t"), presigned.id) == presigned
        assert await uploads.find_presigned(TenantScope("u"), presigned.id) is None
        assert await uploads.abandon(presigned.id)
        await uploads.end_deletion(presigned.id)
        seconds = await uploads.next_due_s()
        assert (seconds is not None and seconds > 7_200) == stays
    with pytest.raises(QuotaExceeded):
        await uploads.reserve(new(size=51), LIMITS)


async def test_a_presigned_upload_is_described_once(stored: Stored) -> None:
    uploads, presigned = stored.here.uploads, PresignedUpload(uuid4(), UPLOADER, "a", 10)
    await uploads.reserve_presigned(presigned, LIMITS, 60)
    described = structs.replace(new(), id=presigned.id)
    assert await uploads.describe(described)
    assert not await uploads.describe(described)
    assert await uploads.find_presigned(EVERY_TENANT, presigned.id) is None
    record = await uploads.finish(presigned.id)
    assert record is not None
    assert (record.sha256, record.name, record.contents) == (described.sha256, "a.png", described.contents)
