"""Check a JSON value against a msgspec type and name every fault with its exact place, not only the first."""
