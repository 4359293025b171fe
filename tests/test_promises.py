"""The core suite proves each promise of README and manual on real components. This table says by which tests."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TOP = TESTS.parent
PAGES = ("README.md", "src/stepwell/manual/concepts.md")

# By the first column of a promise: the tests that prove it.
PROOFS: Mapping[str, tuple[str, ...]] = {
    "a response says that something happened": ("crash/test_kill.py::test_nothing_is_lost_or_repeated_by_two_kills",),
    "a response says so (created, started, cancelled…)": (
        "crash/test_kill.py::test_nothing_is_lost_or_repeated_by_two_kills",
    ),
    "a step is COMPLETED": ("api/test_verbs_live.py::test_resume_keeps_completed_steps_and_runs_the_rest",),
    "the service or PostgreSQL is killed": (
        "cli/test_up_killed.py::test_the_next_start_continues_what_a_killed_service_and_its_postgresql_have_left",
    ),
    "the kill interrupted an attempt": (
        "cli/test_up_killed.py::test_the_next_start_continues_what_a_killed_service_and_its_postgresql_have_left",
    ),
    "a child process of LOCAL dies alone (killed, out of memory)": (
        "cli/test_up_killed.py::test_a_dead_child_process_costs_a_retry",
    ),
    "a crash comes while a provider works on a job": ("crash/test_money.py::test_killed_with_jobs_under_way",),
    "a request was sent and the answer was lost": (
        "crash/test_money.py::test_lost_answers_to_requests_that_are_all_alike",
        "engine/attempts/test_synchronous_providers.py::test_resubmit_tries_again_and_says_that_the_first_may_have_cost_something",
    ),
    "a retry was due later": ("engine/execution/test_restarts.py::test_a_timer_goes_on_where_it_was",),
    "a workflow crashes its process again and again": (
        "crash/test_unclean_ends.py::test_the_workflow_that_kills_its_process_fails_and_the_others_complete",
    ),
    "a file was written but its step not recorded": (
        "crash/test_kill.py::test_nothing_is_lost_or_repeated_by_two_kills",
    ),
    "a create has an `Idempotency-Key`": (
        "crash/test_idempotency_killed.py::test_one_effect_however_often_it_is_killed",
    ),
    "a create gets no response": ("crash/test_idempotency_killed.py::test_one_effect_however_often_it_is_killed",),
    "two verbs race": ("engine/execution/test_flow_races.py::test_a_pair_of_events_has_one_legal_outcome",),
    "the database is away, or a disk is full": (
        "engine/execution/test_outage.py::test_an_outage_costs_nothing_but_time",
        "engine/explain/test_disk_full.py::test_work_goes_on_and_its_transitions_wait_for_disk_space",
    ),
    "the database is away": ("engine/execution/test_outage.py::test_an_outage_costs_nothing_but_time",),
    "the disk of the database or of the files is full": (
        "engine/explain/test_disk_full.py::test_work_goes_on_and_its_transitions_wait_for_disk_space",
        "engine/explain/test_disk_full.py::test_an_output_without_disk_space_is_held_and_reported",
    ),
    "the database is read-only, during a failover": (
        "engine/explain/test_disk_full.py::test_a_read_only_database_is_not_ready_until_it_takes_writes",
    ),
    "a webhook is due, and the process dies": (
        "crash/test_webhook_killed.py::test_it_comes_again_with_the_same_id_and_body",
    ),
    "a webhook is due, and the process dies before, during or after sending it": (
        "crash/test_webhook_killed.py::test_it_comes_again_with_the_same_id_and_body",
    ),
    "a receiver of webhooks or a reader of events hangs": (
        "engine/webhooks/test_webhooks_shares.py::test_hanging_receivers_delay_no_other_tenant_at_the_same_host",
    ),
    "a receiver of webhooks, or a reader of events, hangs": (
        "engine/webhooks/test_webhooks_shares.py::test_hanging_receivers_delay_no_other_tenant_at_the_same_host",
        "api/test_streams_live.py::test_a_slow_client_is_cut_off_and_can_resume",
    ),
    "LOCAL work was interrupted": (
        "cli/test_up_killed.py::test_the_next_start_continues_what_a_killed_service_and_its_postgresql_have_left",
    ),
}


@pytest.mark.parametrize("page", PAGES)
def test_each_promise_has_its_tests(page: str) -> None:
    (section,) = re.findall(
        r"^## What is promised\n(.*?)(?:^## |\Z)", (TOP / page).read_text(), re.MULTILINE | re.DOTALL
    )
    promises = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]
    assert len(promises) >= 10
    assert [promise for promise in promises if promise not in PROOFS] == []


@pytest.mark.parametrize("proof", sorted({proof for proofs in PROOFS.values() for proof in proofs}))
def test_each_of_these_tests_is_in_the_core_suite(proof: str) -> None:
    path, name = proof.split("::")
    module = ast.parse((TESTS / path).read_text())
    marks = [ast.unparse(node) for node in module.body if ast.unparse(node).startswith("pytestmark")]
    (test,) = [node for node in _functions(module) if node.name == name]
    decorators = [ast.unparse(decorator) for decorator in test.decorator_list]
    assert [mark for mark in marks if "extended" in mark] == []
    assert "pytest.mark.extended" not in decorators


def _functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
