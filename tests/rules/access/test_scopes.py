"""The scopes of tokens, and which of them include others."""

from stepwell.contract.scopes import SCOPES, Permission, allowed_by


def test_a_scope_allows_what_it_includes_and_nothing_else() -> None:
    assert allowed_by(("workflows:write",)) >= {"workflows:write", "workflows:approve"}
    assert allowed_by(("workflows:approve", "x")) == {"workflows:approve", "x"}
    assert allowed_by(()) == set()
    assert not Permission.READ.is_in(("workflows:write", "workflows:approve", "tenants:all"))


def test_each_scope_has_a_meaning_and_is_included_in_known_ones() -> None:
    assert set(SCOPES) == {*Permission, "tenants:all"}
    assert all(SCOPES.values())
    assert {name for scope in Permission for name in scope.included_in} <= set(Permission)
