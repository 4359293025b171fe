"""Query strings: what is accepted, what is refused, and where the faults point."""

import httpx
import pytest

from stepwell.api.query_parameters import (
    CleanupQuery,
    EventsQuery,
    GetQuery,
    ListQuery,
    StartQuery,
    page_links,
    parse_id,
    parse_query,
)
from stepwell.contract.enums import WorkflowStatus
from stepwell.domain.errors import InvalidRequest, NotFound
from stepwell.domain.records import WorkflowParts
from support.service.live_service import Service

in_module_loop = pytest.mark.asyncio(loop_scope="module")
INT64 = 2**63 - 1


def faults_of(raw: bytes, kind: type = ListQuery) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InvalidRequest) as caught:
        parse_query(raw, kind)
    return [(fault.loc, fault.type) for fault in caught.value.faults]


def test_an_empty_query_has_the_defaults() -> None:
    assert parse_query(b"", ListQuery) == ListQuery()
    assert ListQuery().as_filter().limit == 50
    assert parse_query(b"", StartQuery).start
    assert parse_query(b"", CleanupQuery).cleanup_tasks


def test_every_parameter_is_decoded() -> None:
    query = parse_query(
        b"skip=7&limit=1000&status=PAUSED&origin_instance=a%20b+c&origin_tenant_id=%C3%A9&include_deleted=1"
        b"&include_steps=false",
        ListQuery,
    ).as_filter()
    assert (query.skip, query.limit, query.status) == (7, 1000, WorkflowStatus.PAUSED)
    assert (query.origin_instance, query.origin_tenant_id) == ("a b c", "é")
    assert (query.include_deleted, query.parts) == (True, WorkflowParts(steps=False))


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


def test_page_links_keep_the_filters() -> None:
    query = parse_query(b"skip=20&limit=10&status=FAILED&origin_instance=a%26b&include_steps=0", ListQuery)
    kept = "/w/?origin_instance=a%26b&status=FAILED&include_steps=false"
    assert page_links("/w/", query, 47).split(", ") == [
        f'<{kept}&skip=0&limit=10>; rel="first"',
        f'<{kept}&skip=10&limit=10>; rel="prev"',
        f'<{kept}&skip=30&limit=10>; rel="next"',
        f'<{kept}&skip=40&limit=10>; rel="last"',
    ]


@pytest.mark.parametrize(
    ("skip", "total", "relations"),
    [
        (0, 0, ["first", "last"]),
        (0, 10, ["first", "last"]),
        (0, 11, ["first", "next", "last"]),
        (10, 11, ["first", "prev", "last"]),
        (5, 20, ["first", "prev", "next", "last"]),
        (INT64, 20, ["first", "prev", "last"]),
    ],
)
def test_page_links_name_only_pages_that_exist(skip: int, total: int, relations: list[str]) -> None:
    links = page_links("/w/", ListQuery(skip=skip, limit=10), total).split(", ")
    assert [link.partition('rel="')[2].rstrip('"') for link in links] == relations
    assert all("skip=-" not in link for link in links)


def test_a_page_of_no_workflows_links_only_to_the_first_and_the_last() -> None:
    links = '</w/?skip=0&limit=0>; rel="first", </w/?skip=0&limit=0>; rel="last"'
    assert page_links("/w/", ListQuery(skip=20, limit=0), 47) == links


@in_module_loop
async def test_the_list_is_filtered_by_the_query(api: Service, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await api.create({"id": "a", "task_type": "PASSTHROUGH"}, start=False)
    answer = await client.get("/api/v1/workflows?skip=1&limit=1&include_steps=false&status=RUNNING")
    assert answer.status_code == 200
    assert answer.json() == {"workflows": [], "total": 0, "skip": 1, "limit": 1}
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
        answer = await client.request(method, f"{one}{path}?a=%00")
        assert answer.status_code == 422, path
    assert [event["type"] for event in await api.events(created["id"])] == ["workflow.created"]
