"""Where the items of a step come from, and how one of them gets into the inputs."""

from typing import Any

import pytest
from msgspec import Raw, json

from stepwell.basics.errors import AttemptError
from stepwell.contract.definition import FieldMapping, ForEach
from stepwell.contract.enums import TransformType
from stepwell.definition.mapping.items import ItemInput, item_mappings, item_texts, items_of

MAPPED = ForEach(from_step="a", from_field="styles")
LABEL = "Mapping of 'styles' of step 'a' to 'for_each.items'"


def decoded(items: tuple[bytes, ...]) -> list[Any]:
    return [json.decode(item) for item in items]


def read(for_each: ForEach, *values: Any) -> list[Any]:
    return decoded(items_of(for_each, item_texts(for_each), values))


@pytest.mark.parametrize(
    ("for_each", "values", "items"),
    [
        (ForEach(items=["x", {"y": 1}, None, [2]]), [], ["x", {"y": 1}, None, [2]]),
        (ForEach(items=[]), [], []),
        (ForEach(items=["plain", {"deep": ["${b.x}", "k"]}]), [7], ["plain", {"deep": [7, "k"]}]),
        (ForEach(items="${inputs.styles}"), [["x", "y"]], ["x", "y"]),
        (ForEach(count=3), [], [0, 1, 2]),
        (ForEach(count="${inputs.n}"), [2], [0, 1]),
        (ForEach(count="${inputs.n}"), [2.0], [0, 1]),
        (MAPPED, [["x", 2]], ["x", 2]),
        (MAPPED, [[]], []),
    ],
)
def test_items_are_those_of_their_source(for_each: ForEach, values: list[Any], items: list[Any]) -> None:
    assert read(for_each, *values) == items
    assert read(for_each, *(Raw(json.encode(value)) for value in values)) == items, "encoded, from a child process"


@pytest.mark.parametrize(
    ("for_each", "value", "error"),
    [
        (ForEach(items="${x}"), {"a": 1}, "for_each.items: needs a list of items, got an object"),
        (ForEach(items="${x}"), "text", "for_each.items: needs a list of items, got a text"),
        (MAPPED, None, f"{LABEL}: needs a list of items, got null"),
        (MAPPED, list(range(1_001)), f"{LABEL} has 1,001 items; a step has at most 1,000"),
        (MAPPED, ["x" * 1024 * 1024], f"{LABEL}: item 0 is over 1,048,576 bytes"),
        (ForEach(count="${x}"), 0, "for_each.count needs a whole number from 1 to 1,000, got 0"),
        (ForEach(count="${x}"), None, "for_each.count needs a whole number from 1 to 1,000, got null"),
        (ForEach(count="${x}"), 1_001, "for_each.count needs a whole number from 1 to 1,000, got 1001"),
        (ForEach(count="${x}"), 1.5, "for_each.count needs a whole number from 1 to 1,000, got 1.5"),
        (ForEach(count="${x}"), True, "for_each.count needs a whole number from 1 to 1,000, got a boolean"),
        (ForEach(count="${x}"), "3", "for_each.count needs a whole number from 1 to 1,000, got a text"),
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_what_gives_no_items_has_an_error_that_is_not_retryable(
    for_each: ForEach,
    value: Any,
    error: str,
    encoded: bool,  # noqa: FBT001
) -> None:
    with pytest.raises(AttemptError) as caught:
        read(for_each, Raw(json.encode(value)) if encoded else value)
    assert str(caught.value) == error
    assert not caught.value.retryable


def test_a_transform_that_reads_files_is_refused() -> None:
    for_each = ForEach(from_step="a", from_field="paths", transform=TransformType.PATH_TO_URL)
    with pytest.raises(AttemptError, match="reads files, which isn't possible before the items are known"):
        read(for_each, ["x"])


def test_the_mapping_of_items_has_the_transform_of_its_step() -> None:
    for_each = ForEach(from_step="a", from_field="x", transform=TransformType.FLATTEN)
    (mapping,) = item_mappings(for_each)
    assert (mapping.from_step, mapping.from_field, mapping.transform) == ("a", "x", TransformType.FLATTEN)
    assert item_mappings(ForEach(count=2)) == []


@pytest.mark.parametrize(
    ("name", "value", "config"),
    [
        ("item", "x", {"prompt": "p", "n": 1, "item": "x"}),
        ("prompt", "x", {"prompt": "x", "n": 1}),
        (None, {"prompt": "x", "more": None}, {"prompt": "x", "n": 1, "more": None}),
        (None, {}, {"prompt": "p", "n": 1}),
    ],
)
def test_an_item_lies_over_the_config(name: str | None, value: Any, config: dict[str, Any]) -> None:
    before = {"prompt": "p", "n": 1}
    assert ItemInput(0, value, name).put_into(before) == config
    assert before == {"prompt": "p", "n": 1}


def test_an_item_whose_members_are_inputs_must_be_an_object() -> None:
    with pytest.raises(AttemptError) as caught:
        ItemInput(3, [1], None).put_into({})
    assert str(caught.value) == (
        'the item is a list: it must be an object, because its members are the inputs ("as" is null)'
    )
    assert not caught.value.retryable


TO_SEED = FieldMapping(from_step="a", from_field="s", to_field="seed")


@pytest.mark.parametrize(
    ("name", "value", "seed", "mappings", "step"),
    [
        ("item", {"seed": 1}, 41, [], 5),
        ("item", 0, "${inputs.seed}", [], 5),
        ("seed", 9, 41, [], 0),
        (None, {"seed": 9}, 41, [], 0),
        (None, {"prompt": "x"}, 41, [], 5),
        ("item", {"seed": 1}, "${item.seed}", [], 0),
        ("seed", 9, 41, [TO_SEED], 5),
    ],
)
def test_a_seed_of_the_config_is_another_one_for_each_of_them(
    name: str | None, value: Any, seed: Any, mappings: list[FieldMapping], step: int
) -> None:
    assert ItemInput(5, value, name).seed_step({"seed": seed}, mappings) == step
