"""The answers of the operations that need no token: the root and health."""

from msgspec import Struct


class Root(Struct):
    version: str
    name: str = "Stepwell"
    schema: str = "/schema"
    openapi: str = "/schema/openapi.json"
    ready: str = "/health/ready"


class Health(Struct):
    status: str = "ok"
