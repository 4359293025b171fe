"""The terms of waits that their evaluated configs give."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec import json

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import WaitKind
from stepwell.definition.wait_terms import MAX_SHOWN_BYTES, wait_terms
from stepwell.lifecycle.inputs import WaitTerms

ID, NOW = UUID(int=1), datetime(2026, 11, 27, tzinfo=UTC)


def decision(**inputs: Any) -> WaitTerms:
    return wait_terms(WaitKind.DECISION, inputs, ID, NOW)


def test_a_decision_shows_what_isnt_its_own_config() -> None:
    terms = decision(message="?", choices=["a", "b"], on_timeout="b", timeout_s=5, size=[1], note=None)
    assert (terms.choices, terms.on_timeout, terms.timeout_s, terms.rejects) == (("a", "b"), "b", 5, True)
    assert (terms.shown.message, json.decode(terms.shown.inputs)) == ("?", {"size": [1], "note": None})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"choices": ["a", "fail"]}, 'no choice is named "fail"'),
        ({"choices": ["a", "a"]}, "the choices must differ"),
        ({"choices": ["a"], "on_timeout": "approve"}, "on_timeout is no choice: approve"),
        ({"choices": ["a"], "on_reject": "continue"}, 'on_reject needs a choice named "reject"'),
        ({"message": "a\x00b"}, "message contains a NUL character"),
        ({"message": "a\ud800b"}, "message contains a lone surrogate"),
        ({"choices": ["a\ud800b"]}, "choices contains a lone surrogate"),
        ({"text": "a\ud800b"}, "the inputs to be shown contain a lone surrogate"),
        ({"text": "x" * MAX_SHOWN_BYTES}, "have 65,547 bytes, and at most 65,536"),
    ],
)
def test_choices_that_an_expression_gave_are_checked_once_more(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(AttemptError, match=message) as caught:
        decision(**inputs)
    assert not caught.value.retryable


def test_inputs_of_the_bound_are_shown() -> None:
    assert len(decision(text="x" * (MAX_SHOWN_BYTES - 11)).shown.inputs) == MAX_SHOWN_BYTES


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({"seconds": None}, "a DELAY needs seconds or until"), ({"until": "\ud800"}, "until is no time")],
)
def test_a_delay_whose_expression_gave_no_time_is_refused(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(AttemptError, match=message):
        wait_terms(WaitKind.DELAY, inputs, ID, NOW)
