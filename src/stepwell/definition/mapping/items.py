"""Reads the items of a step from its `for_each`, and puts one of them into the inputs of its attempts.

An item is encoded JSON. The input `as` holds it; without `as`, each of its members is an input. Either way it lies
over the step's config, and the mappings lie over both.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Raw, Struct, json

from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.contract.definition import MAX_ITEMS, FieldMapping, ForEach
from stepwell.definition.mapping.evaluation import encode_value
from stepwell.definition.mapping.input_mapping import mapping_label, step_error
from stepwell.definition.mapping.templates import ITEM, ConfigText, parse_template, texts_of, with_values
from stepwell.definition.mapping.transforms import is_deferred, kind_of

_MEMBER: Final = "for_each"
_SEED: Final = "seed"
RESULT_LISTS: Final = {
    "result_image_paths": "result_image_path",
    "result_video_paths": "result_video_path",
    "result_texts": "result_text",
}
"""The lists in the result of a step with items, and the members of its items' results that they are made of."""


def result_of_items(results: Sequence[bytes | None], failed: int | None = None) -> bytes:
    """Return the result of a step with items, as the database builds it. That of an item that failed is None.

    *failed*: so many items failed; None: all that have no result.
    """
    built: dict[str, Any] = {
        "items": [Raw(b"null" if result is None else result) for result in results],
        "count": len(results),
        "failed": sum(result is None for result in results) if failed is None else failed,
    }
    decoded = [json.decode(result) for result in results if result is not None]
    for several, single in RESULT_LISTS.items():
        of_items = [value for result in decoded for value in _values(result, several, single)]
        if of_items:
            built[several] = of_items
    return json.encode(built)


def _values(result: dict[str, Any], several: str, single: str) -> list[Any]:
    if isinstance(values := result.get(several), list):
        return values
    return [value] if isinstance(value := result.get(single), str) else []


class StepItem(Struct, frozen=True):
    """The item of one attempt: its `number`, from 0, and its encoded `value`. `name` is `as` of its `for_each`."""

    number: int
    value: bytes
    name: str | None


class ItemInput(Struct, frozen=True):
    """An item with its value decoded."""

    number: int
    value: Any
    name: str | None

    def put_into(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return *config* with the item over it. A member that is None counts as absent, as in every config.

        Raises `AttemptError`, not retryable, if the members of the item are inputs and it is no object.
        """
        if self.name is not None:
            return {**config, self.name: self.value}
        if not isinstance(self.value, dict):
            why = f'is {kind_of(self.value)}: it must be an object, because its members are the inputs ("as" is null)'
            raise step_error("the item", why, separator=" ")
        return {**config, **self.value}

    def seed_step(self, config: Mapping[str, Any], mappings: Sequence[FieldMapping]) -> int:
        """Return the number to add to a seed of the step's inputs: the item's, or 0 if the item itself has a seed.

        *config* is that of the definition, unevaluated.
        """
        if any(mapping.to_field == _SEED for mapping in mappings):
            return self.number
        if self.name == _SEED or (self.name is None and self.value.get(_SEED) is not None):
            return 0
        seed = config.get(_SEED)
        return 0 if isinstance(seed, str) and reads_item(seed) else self.number


def reads_item(text: str) -> bool:
    """Return whether an expression in *text* may read the item."""
    names = (each.names() for each in parse_template(text).expressions)
    return any(each is None or ITEM in each for each in names)


def item_texts(for_each: ForEach) -> list[ConfigText]:
    """Return the texts of the source of the items that may have expressions."""
    source = {"items": for_each.items, "count": for_each.count}
    return [ConfigText(text.place, text.text, _MEMBER) for text in texts_of(source)]


def item_mappings(for_each: ForEach) -> list[FieldMapping]:
    """Return the mapping that reads the items from a result; none if they have another source."""
    if for_each.from_step is None or for_each.from_field is None:
        return []
    to_field = f"{_MEMBER}.items"
    return [
        FieldMapping(
            from_step=for_each.from_step,
            from_field=for_each.from_field,
            to_field=to_field,
            transform=for_each.transform,
        )
    ]


def items_of(for_each: ForEach, texts: Sequence[ConfigText], values: Sequence[Any]) -> tuple[bytes, ...]:
    """Return the encoded items. *values*: those of the *texts*, and then of `item_mappings`, perhaps as `Raw`.

    Raises `AttemptError`, not retryable.
    """
    source = {"items": for_each.items, "count": for_each.count}
    if texts:
        source = with_values(source, {text.place: value for text, value in zip(texts, values, strict=False)})
    if for_each.count is not None:
        return tuple(b"%d" % number for number in range(_count(source["count"])))
    label, listed = f"{_MEMBER}.items", source["items"]
    for mapping in item_mappings(for_each):
        label, listed = mapping_label(mapping), values[-1]
        if mapping.transform is not None and is_deferred(mapping.transform):
            raise step_error(label, f"{mapping.transform} reads files, which isn't possible before the items are known")
    return tuple(_encoded(label, number, item) for number, item in enumerate(_listed(label, listed)))


def _count(value: Any) -> int:
    count = json.decode(value) if isinstance(value, Raw) else value
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_ITEMS:
        shown = count if isinstance(count, int | float) and not isinstance(count, bool) else kind_of(count)
        raise step_error(
            f"{_MEMBER}.count", f"needs a whole number from 1 to {MAX_ITEMS:,}, got {shown}", separator=" "
        )
    return count


def _listed(label: str, value: Any) -> list[Any]:
    if isinstance(value, Raw):
        value = json.decode(value, type=list[Raw] if bytes(memoryview(value)[:1]) == b"[" else Any)
    if not isinstance(value, list):
        raise step_error(label, f"needs a list of items, got {kind_of(value)}")
    if len(value) > MAX_ITEMS:
        raise step_error(label, f"has {len(value):,} items; a step has at most {MAX_ITEMS:,}", separator=" ")
    return value


def _encoded(label: str, number: int, item: Any) -> bytes:
    encoded = bytes(item) if isinstance(item, Raw) else encode_value(item)
    if len(encoded) > MAX_RESULT_BYTES:
        raise step_error(label, f"item {number} is over {MAX_RESULT_BYTES:,} bytes")
    return encoded
