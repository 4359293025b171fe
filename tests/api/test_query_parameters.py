"""Query strings: what is accepted, what is refused, and where the faults point."""

import re
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from stepwell.api.requests.query_parameters import (
    CleanupQuery,
    EventsQuery,
    GetQuery,
    StartQuery,
    parse_id,
    parse_query,
)
from stepwell.api.routes.list_query import ListQuery, list_links
from stepwell.basics.errors import InvalidRequest, NotFound
from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.records import WorkflowParts
from stepwell.rules.access.cursors import PageCursors
from stepwell.rules.list_records import WorkflowCursor, WorkflowPage
from support.service.live_service import Service

in_module_loop = pytest.mark.asyncio(loop_scope="module")
INT64 = 2**63 - 1
CURSORS = PageCursors(b"a secret of the tests, long enough")
CURSOR = WorkflowCursor(datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC), UUID(int=7))


def faults_of(raw: bytes, kind: type = ListQuery) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InvalidRequest) as caught:
        parse_query(raw, kind)
    return [(fault.loc, fault.type) for fault in caught.value.faults]


def test_an_empty_query_has_the_defaults() -> None:
    assert parse_query(b"", ListQuery) == ListQuery()
    assert ListQuery().as_page(CURSORS).limit == 50
    assert parse_query(b"", StartQuery).start
    assert parse_query(b"", CleanupQuery).cleanup_tasks


def test_every_parameter_is_decoded() -> None:
    query = parse_query(
        b"skip=7&limit=1000&status=PAUSED&origin_instance=a%20b+c&origin_tenant_id=%C3%A9&include_deleted=1"
        b"&include_children=true&include_steps=false",
        ListQuery,
    ).as_page(CURSORS)
    assert (query.skip, query.limit, query.statuses) == (7, 1000, (WorkflowStatus.PAUSED,))
    assert (query.origin_instance, query.origin_tenant_id) == ("a b c", "é")
    assert (query.include_deleted, query.include_children) == (True, True)
    assert query.parts == WorkflowParts(steps=False)


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"true", True), (b"1", True), (b"false", False), (b"0", False), (b"True", True), (b"FALSE", False)],
)
def test_a_boolean_is_a_word_or_a_digit_in_any_case(raw: bytes, value: bool) -> None:  # noqa: FBT001
    assert parse_query(b"start=" + raw, StartQuery).start is value


@pytest.mark.parametrize("raw", [b"", b"yes", b"on", b"2", b"01", b"tru", b"null", b"true%20", b"%EF%BC%91"])
def test_any_other_text_is_refused_as_a_boolean(raw: bytes) -> None:
    assert faults_of(b"start=" + raw, StartQuery) == [(("query", "start"), "bool_parsing")]


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"x", b"1e3", b"1.0", b"0x10", b"1_000", b"+5", b"%2B5", b"%205", b"5%20", b"--5", b"NaN", b"5%0A"),
        *(b"9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 5000, "٣".encode(), b"%D9%A3", b"none"),
    ],
)
def test_anything_but_digits_within_64_bits_is_refused_as_an_integer(raw: bytes) -> None:
    assert faults_of(b"limit=" + raw) == [(("query", "limit"), "int_parsing")]


@pytest.mark.parametrize("raw", [b"limit=-1", b"limit=1001", b"limit=9223372036854775807", b"skip=-1"])
def test_an_integer_out_of_range_is_refused(raw: bytes) -> None:
    (loc, kind), *others = faults_of(raw)
    assert not others
    assert loc == ("query", raw.partition(b"=")[0].decode())
    assert kind in ("greater_than_equal", "less_than_equal")


def test_the_ends_of_a_range_are_accepted() -> None:
    assert parse_query(b"skip=%d&limit=1" % INT64, ListQuery).skip == INT64
    assert parse_query(b"after=0&limit=1000", EventsQuery).limit == 1000
    assert faults_of(b"limit=1001", EventsQuery) == [(("query", "limit"), "less_than_equal")]


def test_a_status_is_accepted_in_upper_case_only() -> None:
    assert faults_of(b"status=running") == [(("query", "status"), "enum")]
    assert faults_of(b"status=") == [(("query", "status"), "enum")]


def test_all_faults_are_reported_at_once() -> None:
    places = {loc for loc, _ in faults_of(b"limit=x&skip=-1&status=NO&include_steps=maybe&origin_instance=%00")}
    assert places == {("query", n) for n in ("limit", "skip", "status", "include_steps", "origin_instance")}


def test_a_parameter_that_is_sent_twice_is_refused() -> None:
    assert faults_of(b"limit=1&limit=2") == [(("query", "limit"), "repeated")]
    assert faults_of(b"limit=1&limit=1") == [(("query", "limit"), "repeated")]


def test_unknown_parameters_are_refused_by_name() -> None:
    assert faults_of(b"statuss=FAILED&limit=3&b") == [(("query", "statuss"), "unknown"), (("query", "b"), "unknown")]
    assert parse_query(b"a=1&a=2&=&&limit=3", ListQuery, others=("a",)).limit == 3
    assert parse_query(b"a=1&b=2&limit=3", ListQuery, others=None).limit == 3


@pytest.mark.parametrize("raw", [b"%ff", b"%ed%a0%80", b"%c0%af", b"\xff", b"%00", b"a%00b"])
def test_broken_utf8_and_nul_are_refused_anywhere(raw: bytes) -> None:
    assert [loc for loc, _ in faults_of(b"origin_instance=" + raw)] == [("query", "origin_instance")]
    assert [loc for loc, _ in faults_of(b"unknown=" + raw, GetQuery)] == [("query", "unknown")]
    assert faults_of(raw + b"=1")[0][0][0] == "query"


def test_an_id_is_a_uuid_in_the_usual_notation() -> None:
    text = "0198c0de-0000-7000-8000-00000000000A"
    assert str(parse_id(text, "workflow")) == text.lower()
    for other in ("", "1", "x" * 36, "{" + text + "}", "urn:uuid:" + text, text.replace("-", ""), text + "\n"):
        with pytest.raises(NotFound, match="workflow not found"):
            parse_id(other, "workflow")


def links_of(query: ListQuery, total: int | None, last: WorkflowCursor | None = None) -> list[tuple[str, str]]:
    """The parameters of each link, and its relation."""
    page = WorkflowPage({}, [], total, last)
    return re.findall(r'</w/\?([^>]*)>; rel="(\w+)"', list_links("/w/", query, page, CURSORS))


def test_list_links_keep_the_filters() -> None:
    raw = b"skip=20&limit=10&status=FAILED&origin_instance=a%26b&include_steps=0&label=a:1&label=b:%26&order=created_at"
    kept = "label=a%3A1&label=b%3A%26&origin_instance=a%26b&status=FAILED&include_steps=false&order=created_at&limit=10"
    cursor = CURSORS.oldest_first.sign(CURSOR)
    assert links_of(parse_query(raw, ListQuery), 47, CURSOR) == [
        (f"{kept}&skip=0", "first"),
        (f"{kept}&skip=10", "prev"),
        (f"{kept}&cursor={cursor}", "next"),
        (f"{kept}&skip=40", "last"),
    ]
    uncounted = parse_query(raw + b"&total=false", ListQuery)
    assert [rel for _, rel in links_of(uncounted, None, CURSOR)] == ["first", "prev", "next"]


@pytest.mark.parametrize(
    ("skip", "total", "relations"),
    [
        (0, 10, ["first", "last"]),
        (10, 11, ["first", "prev", "last"]),
        (INT64, 20, ["first", "prev", "last"]),
        (INT64, None, ["first", "prev"]),
    ],
)
def test_list_links_name_only_pages_that_exist(skip: int, total: int | None, relations: list[str]) -> None:
    links = links_of(ListQuery(skip=skip, limit=10), total)
    assert [rel for _, rel in links] == relations
    assert all("skip=-" not in parameters for parameters, _ in links)


def test_filters_are_decoded() -> None:
    query = parse_query(
        b"status=FAILED,PAUSED&status=FAILED&label=a/b.c:x:y&label=n:&name=Sp%25&origin_zone=z&origin_reference=r"
        b"&created_after=2026-01-31T12:00:00%2B02:00&created_before=2026-02-01T00:00:00.5Z&order=created_at&total=0",
        ListQuery,
    ).as_page(CURSORS)
    assert query.statuses == (WorkflowStatus.FAILED, WorkflowStatus.PAUSED)
    assert (query.labels, query.name) == (("a/b.c:x:y", "n:"), "Sp%")
    assert (query.origin_zone, query.origin_reference) == ("z", "r")
    assert query.created_after == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert query.created_before == datetime(2026, 2, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert (query.oldest_first, query.count) == (True, False)


@pytest.mark.parametrize(
    ("raw", "parameter", "kind"),
    [
        (b"status=FAILED,", "status", "enum"),
        (b"status=FAILED&status=x", "status", "enum"),
        (b"label=a", "label", "string_pattern_mismatch"),
        (b"label=:x", "label", "string_pattern_mismatch"),
        (b"label=a%20b:x", "label", "string_pattern_mismatch"),
        (b"label=a:" + b"x" * 256, "label", "string_pattern_mismatch"),
        (b"&".join(b"label=a:%d" % number for number in range(21)), "label", "too_long"),
        (b"created_after=2026-01-31T12:00:00", "created_after", "datetime_parsing"),
        (b"created_before=2026-01-31", "created_before", "datetime_parsing"),
        (b"created_after=0001-01-01T00:00:00%2B02:00", "created_after", "datetime_parsing"),
        (b"order=name", "order", "enum"),
        (b"cursor=x&skip=1", "skip", "conflict"),
        (b"total=none", "total", "bool_parsing"),
    ],
)
def test_malformed_filters_are_refused(raw: bytes, parameter: str, kind: str) -> None:
    assert faults_of(raw) == [(("query", parameter), kind)]


def test_a_cursor_is_accepted_unchanged_and_in_its_order_only() -> None:
    cursor = CURSORS.newest_first.sign(CURSOR)
    assert ListQuery(cursor=cursor).as_page(CURSORS).after == CURSOR
    broken = [cursor[:-1], cursor + "A", cursor + "=", "", "é", cursor.swapcase(), "A" * len(cursor)]
    others = PageCursors(b"another secret of another service")
    refused = [ListQuery(cursor=each) for each in (*broken, others.newest_first.sign(CURSOR))]
    refused.append(ListQuery(cursor=cursor, order="created_at"))
    for query in refused:
        with pytest.raises(InvalidRequest) as caught:
            query.as_page(CURSORS)
        assert [fault.loc for fault in caught.value.faults] == [("query", "cursor")]


def test_a_page_of_no_workflows_links_only_to_the_first_and_the_last() -> None:
    links = links_of(ListQuery(skip=20, limit=0), 47)
    assert links == [("limit=0&skip=0", "first"), ("limit=0&skip=0", "last")]


@in_module_loop
async def test_the_list_is_filtered_by_the_query(api: Service, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await api.create({"id": "a", "task_type": "PASSTHROUGH"}, start=False)
    response = await client.get("/api/v1/workflows?skip=1&limit=1&include_steps=false&status=RUNNING")
    assert response.status_code == 200
    assert response.json() == {"workflows": [], "total": 0, "skip": 1, "limit": 1}
    found = (await client.get("/api/v1/workflows?skip=1&limit=5&include_steps=false&status=PENDING")).json()
    assert (len(found["workflows"]), found["total"], found["skip"], found["limit"]) == (1, 2, 1, 5)
    assert "steps" not in found["workflows"][0]
    bad = await client.get("/api/v1/workflows/?limit=-1&status=x")
    assert bad.status_code == 422
    assert {tuple(fault["loc"]) for fault in bad.json()["detail"]} == {("query", "limit"), ("query", "status")}


@pytest.mark.parametrize("route", ["", "/tasks", "/events"])
@in_module_loop
async def test_an_id_that_is_none_is_a_404_before_the_query_is_read(client: httpx.AsyncClient, route: str) -> None:
    assert (await client.get(f"/api/v1/workflows/nope{route}?limit=x")).status_code == 404


@in_module_loop
async def test_broken_queries_are_refused_by_operations_without_parameters(
    api: Service, client: httpx.AsyncClient
) -> None:
    created = await api.create({"id": "a", "task_type": "PASSTHROUGH"}, start=False)
    one = f"/api/v1/workflows/{created['id']}"
    for method, path in [("POST", "/start"), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", ""), ("PATCH", "")]:
        response = await client.request(method, f"{one}{path}?a=%00")
        assert response.status_code == 422, path
    assert [event["type"] for event in await api.events(created["id"])] == ["workflow.created"]
