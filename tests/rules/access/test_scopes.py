"""The scopes of tokens, and which of them include others."""

import pytest

from stepwell.contract.scopes import SCOPES, Permission, allowed_by


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        ((), set()),
        (("workflows:read", "x"), {"workflows:read", "x"}),
        (("workflows:write",), {"workflows:write", "workflows:approve"}),
        (("workflows:approve", "tenants:all"), {"workflows:approve", "tenants:all"}),
    ],
)
def test_a_scope_allows_what_it_includes(granted: tuple[str, ...], expected: set[str]) -> None:
    assert allowed_by(granted) == expected
    assert {each for each in Permission if each.is_in(granted)} == expected & set(Permission)


def test_each_scope_has_a_meaning() -> None:
    assert set(SCOPES) == {*Permission, "tenants:all"}
    assert all(SCOPES.values())
    assert {name for scope in Permission for name in scope.included_in} <= set(Permission)
