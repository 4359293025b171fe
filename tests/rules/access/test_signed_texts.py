"""Signed texts: which are accepted, which purposes there are, and how long cursors get."""

from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec import Struct

from stepwell.contract.definition import MAX_ITEMS
from stepwell.definition.validation.workflow import MAX_STEPS
from stepwell.rules.access.cursors import MAX_CURSOR_CHARS, FeedCursors, PageCursors
from stepwell.rules.access.signed_texts import SignedTexts
from stepwell.rules.event_feed import FeedCursor
from stepwell.rules.list_records import ITEM_ATTEMPTS, DecisionCursor, OutputCursor, WorkflowCursor

SECRET = b"a secret of the tests, as long as it has to be"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LAST_DAY = datetime(2500, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
ID = UUID(int=2**128 - 1)


class Body(Struct, frozen=True, array_like=True):
    name: str
    at: datetime | None = None
    id: UUID | None = None


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("body", [Body(""), Body("a", LAST_DAY, ID), Body("bc"), Body("def")])
def test_a_text_is_read_in_its_exact_notation_alone(body: Body, *, encrypted: bool) -> None:
    texts = SignedTexts(SECRET, "test", Body, 128, encrypted=encrypted)
    text = texts.sign(body)
    assert (texts.read(text), texts.sign(body)) == (body, text)
    changed = [text[:at] + letter + text[at + 1 :] for at in (0, 1, 9, len(text) - 1) for letter in LETTERS]
    shorter = [text[:at] for at in range(len(text))]
    notations = [f"{text}=", f"{text}==", f" {text}", f"{text}\n", text[:4] + "!" + text[4:], f"{text}AAAA"]
    notations += [text.replace("-", "+").replace("_", "/"), f"{text[:8]}\r\n{text[8:]}", text + "=" * (-len(text) % 4)]
    for other in {*changed, *shorter, *notations, "\u00e9", "\udcff", "A" * 40} - {text}:
        assert texts.read(other) is None, other


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_text_of_another_purpose_key_or_form_is_refused(*, encrypted: bool) -> None:
    texts = SignedTexts(SECRET, "test", Body, 128, encrypted=encrypted)
    for others in (
        SignedTexts(SECRET, "tests", Body, 128, encrypted=encrypted),
        SignedTexts(SECRET, "tes", Body, 128, encrypted=encrypted),
        SignedTexts(SECRET + b"x", "test", Body, 128, encrypted=encrypted),
        SignedTexts(SECRET, "test", Body, 128, encrypted=not encrypted),
        SignedTexts(SECRET, "test", Body, 20, encrypted=encrypted),
        SignedTexts(SECRET, "test", int, 128, encrypted=encrypted),
    ):
        assert others.read(texts.sign(Body("a", LAST_DAY, ID))) is None


def test_an_encrypted_text_does_not_contain_its_value() -> None:
    texts = [SignedTexts(SECRET, "test", Body, 128, encrypted=encrypted) for encrypted in (False, True)]
    signed = [urlsafe_b64decode(each.sign(Body("a secret name of 32 characters..")) + "==") for each in texts]
    assert [b"secret name" in raw for raw in signed] == [True, False]


def test_a_signature_is_that_of_one_value() -> None:
    texts = SignedTexts(SECRET, "test", tuple[str, int])
    signatures = {texts.signature(body) for body in (("a", 1), ("a", 11), ("a1", 1), ("", 1))}
    assert len(signatures | {SignedTexts(SECRET, "other", tuple[str, int]).signature(("a", 1))}) == 5


def test_the_longest_cursors_are_accepted() -> None:
    cursors = PageCursors(SECRET)
    last_us = 2**54  # in the year 2540
    position, attempt = MAX_STEPS - 1, MAX_ITEMS * ITEM_ATTEMPTS
    decision, output = DecisionCursor(last_us, ID, position), OutputCursor(ID, position, attempt, 10_000)
    workflow = WorkflowCursor(LAST_DAY, ID)
    texts = [
        cursors.decisions.sign(decision),
        cursors.outputs.sign(output),
        cursors.newest_first.sign(workflow),
        cursors.oldest_first.sign(workflow),
    ]
    assert cursors.decisions.read(texts[0]) == decision
    assert cursors.outputs.read(texts[1]) == output
    assert cursors.newest_first.read(texts[2]) == cursors.oldest_first.read(texts[3]) == workflow
    assert max(map(len, texts)) <= MAX_CURSOR_CHARS


def test_all_cursors_of_the_feed_are_equally_long() -> None:
    cursors = FeedCursors(SECRET)
    positions = [FeedCursor(0, 0, 0), FeedCursor(2**63 - 1, ID.int, 2**31 - 1)]
    assert [cursors.read(cursors.issue(each)) for each in positions] == positions
    assert len({len(cursors.issue(each)) for each in positions}) == 1
