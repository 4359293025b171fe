"""Texts with expressions: where each begins and ends, which names it may read, and what is literal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.definition.mapping.expressions import Compiled, compile_expression
from stepwell.definition.mapping.templates import (
    ConfigText,
    TemplateError,
    TemplateExpression,
    escaped_from,
    has_text,
    parse_template,
    texts_of,
    with_values,
)


def parts_of(text: str) -> list[str]:
    """Return the parts of the template, each expression in angle brackets."""
    return [f"<{part.text}>" if isinstance(part, TemplateExpression) else part for part in parse_template(text).parts]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("plain $ text {x}", ["plain $ text {x}"]),
        ("${a.b}", ["<a.b>"]),
        ("${ a.b }", ["<a.b>"]),
        ("x ${a} y ${b}", ["x ", "<a>", " y ", "<b>"]),
        ("${a}${b}", ["<a>", "<b>"]),
        ("$${a}", ["${a}"]),
        ("$$${a}", ["$${a}"]),
        ("$${a} ${b} $${", ["${a} ", "<b>", " ${"]),
        ("$$${a} $$${b $${c ${d} $$$${", ["$${a} $${b ${c ", "<d>", " $$${"]),
        ("${'$'}${b}", ["<'$'>", "<b>"]),
        ("${a.{x: b, y: {z: c}}}!", ["<a.{x: b, y: {z: c}}>", "!"]),
        ("${'}'}", ["<'}'>"]),
        ("${'it\\'s }'}", ["<'it\\'s }'>"]),
        ('${"}".x}', ['<"}".x>']),
        ('${`{"x": "}"}`}', ['<`{"x": "}"}`>']),
        ("${'\"'}${'\"'}", ["<'\"'>", "<'\"'>"]),
        ("a\n${b\n|| c}", ["a\n", "<b\n|| c>"]),
    ],
)
def test_a_text_is_divided_into_literal_texts_and_expressions(text: str, parts: list[str]) -> None:
    assert parts_of(text) == parts


@pytest.mark.parametrize(
    ("text", "start", "message"),
    [
        ("x ${", 2, "No } ends this expression"),
        ("${a.{b: c}", 0, "No } ends this expression"),
        ("${a} ${'}", 5, "No } ends this expression"),
        ("${}", 0, "The expression is empty"),
        ("$${a} ${ }", 6, "The expression is empty"),
        ("${" + "a" * 1_001 + "}", 0, "No } ends this expression within 1,000 characters"),
    ],
)
def test_a_faulty_expression_is_refused_with_its_place(text: str, start: int, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert (caught.value.start, str(caught.value)) == (start, message)
    assert parse_template(escaped_from(text, start)).expressions == parse_template(text[:start]).expressions


def test_a_text_has_at_most_1000_expressions() -> None:
    assert len(parse_template("${a}" * 1_000).expressions) == 1_000
    with pytest.raises(TemplateError, match="at most 1,000 expressions"):
        parse_template("${a}" * 1_001)


def test_only_one_expression_without_any_text_is_a_whole_expression() -> None:
    texts = ["${a}", " ${a}", "${a}${b}", "$${a}", "a"]
    assert [parse_template(text).is_expression for text in texts] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("expression", "names", "reads_all"),
    [
        ("a.b[*].c", {"a"}, False),
        ("a[?x > `1` && y == 'b'].c", {"a"}, False),
        ("sort_by(a, &b)[0].c || d", {"a", "d"}, False),
        ('"step-1".x', {"step-1"}, False),
        ('"\\u0061".x', {"a"}, False),
        ("[a, {x: b}.x, !c]", {"a", "b", "c"}, False),
        ("a | b", {"a"}, False),
        ('`{"a": 1}`', set(), False),
        ("keys(@)", set(), True),
        ("@.a", set(), True),
        ("*.a", set(), True),
        ("a.*", {"a"}, False),
        ("a == b", {"a", "b"}, False),
        ("map(&a, b)", {"b"}, False),
    ],
)
def test_the_names_that_an_expression_reads(expression: str, names: set[str], reads_all: bool) -> None:  # noqa: FBT001
    compiled = compile_expression(expression)
    assert isinstance(compiled, Compiled)
    assert (set(compiled.names), compiled.reads_all) == (names, reads_all)


ATOMS = st.sampled_from(
    ["a", "b1", '"s-1"', "'x'", "'\"'", '`"a"`', "`[1]`", "@", "*", "[*]", "[0]", "[?a]", "[]", "{k: a}", "[a, b]",
     "keys(@)", "sort_by(a, &b)", "not_null(a, b)", "'\\''", "&a", "!a"]
)  # fmt: skip
JOINTS = st.sampled_from([".", " | ", " || ", " == ", "", " && "])


@given(st.lists(st.tuples(ATOMS, JOINTS), min_size=1, max_size=6))
def test_what_is_known_without_compiling_has_all_that_the_compiled_expression_reads(
    pieces: list[tuple[str, str]],
) -> None:
    text = "".join(atom + joint for atom, joint in pieces[:-1]) + pieces[-1][0]
    compiled = compile_expression(text)
    if isinstance(compiled, str):
        return
    (expression,) = parse_template(f"${{{text}}}").expressions
    assert expression.text == text.strip()
    names = expression.names()
    assert names is None or compiled.names <= names
    if compiled.reads_all and names is not None:
        # A list's place or its elements: of the data, which is an object, these are null.
        assert "[" in text


@pytest.mark.parametrize("text", ["${'" + "\\'" * 500_000, "${" * 500_000, "${'a" * 250_000, "${{" * 300_000])
def test_the_longest_texts_are_parsed_in_one_pass(text: str) -> None:
    """With a second pass for each part, none of these would end."""
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert parse_template(escaped_from(text, caught.value.start)).expressions == []


def test_texts_are_found_and_replaced_at_any_depth() -> None:
    config = {"a": "${x}", "b": [1, {"c": "t ${y}"}, "z"], "d": {"e": ["$${v}"]}, "f": "$x"}
    assert has_text(config, "${")
    assert not has_text({"a": ["$", {"b": "{x}"}], "${k}": 1}, "${")
    assert list(texts_of(config)) == [
        ConfigText(("a",), "${x}"),
        ConfigText(("b", 1, "c"), "t ${y}"),
        ConfigText(("d", "e", 0), "$${v}"),
    ]
    replaced = with_values(config, {("a",): 1, ("b", 1, "c"): [2], ("d", "e", 0): None})
    assert replaced == {"a": 1, "b": [1, {"c": [2]}, "z"], "d": {"e": [None]}, "f": "$x"}
    assert config == {"a": "${x}", "b": [1, {"c": "t ${y}"}, "z"], "d": {"e": ["$${v}"]}, "f": "$x"}
