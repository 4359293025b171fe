"""The OpenAPI document, built from the operations and the structs that they name."""
