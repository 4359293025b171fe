"""No call about workflows can forget to say whose they are."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from stepwell.basics.tenancy import TenantScope
from stepwell.persistence.stores.batched_reads import WorkflowLoader
from stepwell.persistence.stores.large_workflows import LargeWorkflows
from stepwell.persistence.stores.workflow_reader import PostgresWorkflowReader
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from stepwell.ports.storage import WorkflowReader, WorkflowStore

# These are the engine's own, for all tenants alike: batches, jobs at providers, claims, the clock.
WITHOUT = {
    "WorkflowReader": {"ping"},
    "WorkflowStore": {
        *("known_jobs", "write", "end_writing", "claim", "fence", "set_clock"),
        *("release_idle", "hand_over", "waiting", "admit", "unpark"),
    },
}
PAIRS: list[tuple[type, tuple[type, ...]]] = [
    (WorkflowReader, (WorkflowLoader, LargeWorkflows, PostgresWorkflowReader)),
    (WorkflowStore, (PostgresWorkflowStore,)),
]


def methods(*kinds: type) -> dict[str, Callable[..., Any]]:
    members = [each for kind in kinds for each in inspect.getmembers(kind, inspect.isfunction)]
    return {name: call for name, call in members if not name.startswith("_")}


@pytest.mark.parametrize(("port", "made"), PAIRS)
def test_the_scope_is_a_required_parameter(port: type, made: tuple[type, ...]) -> None:
    assert methods(port)
    assert methods(port).keys() <= methods(*made).keys()
    for kind in (port, *made):
        for name, call in methods(kind).items():
            found = inspect.signature(call).parameters.get("scope")
            if name in WITHOUT[port.__name__]:
                assert found is None, name
            else:
                assert found is not None, f"{kind.__name__}.{name} asks nobody whose workflows it touches"
                assert found.default is inspect.Parameter.empty, name
                assert found.annotation is TenantScope, name


def test_no_exception_outlives_its_method() -> None:
    for port, made in PAIRS:
        assert WITHOUT[port.__name__] <= methods(*made).keys()


def test_no_tenant_is_a_tenant_of_its_own() -> None:
    assert TenantScope().covers(None, "alice")
    assert not TenantScope().covers("a", "alice")
    assert not TenantScope().covers("", "alice")
    assert not TenantScope("a").covers(None, "alice")
    assert not TenantScope("").covers(None, "alice")
    assert TenantScope(every=True).covers(None, "alice")
    assert TenantScope(every=True).covers("a", "alice")


def test_a_subject_sees_only_what_it_has_created_for_its_tenant() -> None:
    scope = TenantScope("a", subject="alice")
    assert scope.covers("a", "alice")
    assert not scope.covers("b", "alice")
    for other in ("bob", "", "Alice", None):
        assert not scope.covers("a", other)
