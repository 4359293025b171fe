"""The examples of JSON Schemas that json-schema.org shows, each with its form, and with inputs that are filled in.

The schemas are those of the pages "Examples" and "Miscellaneous examples", but for references to other documents. These
refer to `$defs`, because the service refuses remote references.
"""

from typing import Any, Final

from msgspec import Struct

Json = dict[str, Any]


class SchemaExample(Struct, frozen=True):
    """A schema, the kinds of its form's fields, the texts that are filled in, and the inputs that they give."""

    schema: Json
    kinds: Any
    values: dict[str, str]
    inputs: Json


_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_DATE: Final = {"type": "string", "format": "date"}
_PROFILE: Final[Json] = {
    "description": "A representation of a user profile",
    "type": "object",
    "required": ["username", "email"],
    "properties": {
        "username": _TEXT,
        "email": {"type": "string", "format": "email"},
        "fullName": _TEXT,
        "age": {"type": "integer", "minimum": 0},
        "location": _TEXT,
        "interests": _TEXTS,
    },
}
_PROFILE_KINDS: Final = dict.fromkeys(_PROFILE["properties"], "text") | {"age": "integer", "interests": []}
_PLACE: Final[Json] = {
    "title": "Longitude and Latitude Values",
    "description": "A geographical coordinate.",
    "required": ["latitude", "longitude"],
    "type": "object",
    "properties": {
        "latitude": {"type": "number", "minimum": -90, "maximum": 90},
        "longitude": {"type": "number", "minimum": -180, "maximum": 180},
    },
}
_PLACE_KINDS: Final = {"latitude": "number", "longitude": "number"}


def _example(schema: Json, kinds: Any, values: dict[str, str], inputs: Json, **definitions: Json) -> SchemaExample:
    head = {"$id": "https://example.com/example.schema.json", "$schema": _DRAFT}
    return SchemaExample(head | schema | ({"$defs": definitions} if definitions else {}), kinds, values, inputs)


def _texts(*names: str) -> Json:
    return dict.fromkeys(names, _TEXT)


def _kinds(*names: str, **others: Any) -> Json:
    return dict.fromkeys(names, "text") | others


_ADDRESS = ("postOfficeBox", "extendedAddress", "streetAddress", "locality", "region", "postalCode", "countryName")
_EVENT = ("startDate", "endDate", "summary", "location", "url", "duration", "recurrenceDate", "recurrenceRule")
_JOB = ("title", "company", "location", "description", "employmentType")

_SHOP: Final[dict[str, Json]] = {
    "product": {
        "$anchor": "ProductSchema",
        "type": "object",
        "properties": {"name": _TEXT, "price": {"type": "number", "minimum": 0}},
    },
    "order": {
        "$anchor": "OrderSchema",
        "type": "object",
        "properties": {"orderId": _TEXT, "items": {"type": "array", "items": {"$ref": "#ProductSchema"}}},
    },
}

SCHEMAS: Final = {
    "address": _example(
        {
            "description": "An address similar to http://microformats.org/wiki/h-card",
            "type": "object",
            "properties": _texts(*_ADDRESS),
            "required": ["locality", "region", "countryName"],
            "dependentRequired": {"postOfficeBox": ["streetAddress"], "extendedAddress": ["streetAddress"]},
        },
        _kinds(*_ADDRESS),
        {"locality": "Kyiv", "region": "Kyiv", "countryName": "Ukraine", "postalCode": "01001"},
        {"locality": "Kyiv", "region": "Kyiv", "countryName": "Ukraine", "postalCode": "01001"},
    ),
    "blog post": _example(
        {
            "description": "A representation of a blog post",
            "type": "object",
            "required": ["title", "content", "author"],
            "properties": {
                **_texts("title", "content"),
                "publishedDate": {"type": "string", "format": "date-time"},
                "author": {"$ref": "#/$defs/profile"},
                "tags": _TEXTS,
            },
        },
        _kinds("title", "content", "publishedDate", author=_PROFILE_KINDS, tags=["text", "text"]),
        {"title": "T", "content": "C", "author.username": "u", "author.email": "u@x.y", "tags.0": "a", "tags.1": "b"},
        {"title": "T", "content": "C", "author": {"username": "u", "email": "u@x.y"}, "tags": ["a", "b"]},
        profile=_PROFILE,
    ),
    "calendar": _example(
        {
            "description": "A representation of an event",
            "type": "object",
            "required": ["startDate", "summary"],
            "properties": _texts(*_EVENT, "category", "description") | {"geo": {"$ref": "#/$defs/place"}},
        },
        _kinds(*_EVENT, "category", "description", geo=_PLACE_KINDS),
        {"startDate": "2026-12-01", "summary": "Photos", "geo.latitude": "50.45", "geo.longitude": "30"},
        {"startDate": "2026-12-01", "summary": "Photos", "geo": {"latitude": 50.45, "longitude": 30}},
        place=_PLACE,
    ),
    "card": _example(
        {
            "description": "A representation of a person, company, organization, or place",
            "type": "object",
            "required": ["familyName", "givenName"],
            "properties": {
                "fn": {"description": "Formatted Name", "type": "string"},
                **_texts("familyName", "givenName"),
                "additionalName": _TEXTS,
                "email": {
                    "type": "object",
                    "properties": {"type": {"type": "string", "enum": ["home", "work"]}, "value": _TEXT},
                },
                "geo": {"$ref": "#/$defs/place"},
            },
        },
        _kinds(
            *("fn", "familyName", "givenName"),
            additionalName=["text"],
            email={"type": "choice", "value": "text"},
            geo=_PLACE_KINDS,
        ),
        {"familyName": "B", "givenName": "A", "additionalName.0": "C", "email.type": "1"},
        {"familyName": "B", "givenName": "A", "additionalName": ["C"], "email": {"type": "work"}},
        place=_PLACE,
    ),
    "conditional validation": _example(
        {
            "title": "Conditional Validation with If-Else",
            "type": "object",
            "properties": {"isMember": {"type": "boolean"}, "membershipNumber": _TEXT},
            "required": ["isMember"],
            "if": {"properties": {"isMember": {"const": True}}},
            "then": {"properties": {"membershipNumber": {"type": "string", "minLength": 10, "maxLength": 10}}},
            "else": {"properties": {"membershipNumber": {"type": "string", "minLength": 15}}},
        },
        "json",
        {"": '{"isMember": true, "membershipNumber": "1234567890"}'},
        {"isMember": True, "membershipNumber": "1234567890"},
    ),
    "device type": _example(
        {
            "type": "object",
            "properties": {"deviceType": _TEXT},
            "required": ["deviceType"],
            "oneOf": [
                {"properties": {"deviceType": {"const": each}}, "$ref": f"#/$defs/{each}"}
                for each in ("smartphone", "laptop")
            ],
        },
        "json",
        {"": '{"deviceType": "laptop", "ram": "16 GB"}'},
        {"deviceType": "laptop", "ram": "16 GB"},
        smartphone={"type": "object", "properties": _texts("brand", "model"), "required": ["brand", "model"]},
        laptop={"type": "object", "properties": _texts("ram", "processor"), "required": ["ram"]},
    ),
    "ecommerce system": _example(
        {},
        "json",
        {"": '{"order": {"orderId": "1", "items": [{"name": "cup", "price": 5}]}}'},
        {"order": {"orderId": "1", "items": [{"name": "cup", "price": 5}]}},
        **_SHOP,
    ),
    "order of the ecommerce system": _example(
        {"$ref": "#OrderSchema"},
        {"orderId": "text", "items": [{"name": "text", "price": "number"}]},
        {"orderId": "1", "items.0.name": "cup", "items.0.price": "5"},
        {"orderId": "1", "items": [{"name": "cup", "price": 5}]},
        **_SHOP,
    ),
    "enumerated values": _example(
        {
            "title": "Enumerated Values",
            "type": "object",
            "properties": {"data": {"enum": [42, True, "hello", None, [1, 2, 3]]}},
        },
        {"data": "choice"},
        {"data": "4"},
        {"data": [1, 2, 3]},
    ),
    "geographical location": _example(
        _PLACE,
        _PLACE_KINDS,
        {"latitude": "48.858093", "longitude": "-2.294694"},
        {"latitude": 48.858093, "longitude": -2.294694},
    ),
    "health record": _example(
        {
            "description": "Schema for representing a health record",
            "type": "object",
            "properties": {
                "patientName": _TEXT,
                "dateOfBirth": _DATE,
                "bloodType": _TEXT,
                **dict.fromkeys(("allergies", "conditions", "medications"), _TEXTS),
                "emergencyContact": {"$ref": "#/$defs/profile"},
            },
            "required": ["patientName", "dateOfBirth", "bloodType"],
        },
        _kinds(
            *("patientName", "dateOfBirth", "bloodType"),
            allergies=["text"],
            conditions=[],
            medications=[],
            emergencyContact=_PROFILE_KINDS,
        ),
        {"patientName": "A", "dateOfBirth": "1990-01-02", "bloodType": "0+", "allergies.0": "nuts"},
        {"patientName": "A", "dateOfBirth": "1990-01-02", "bloodType": "0+", "allergies": ["nuts"]},
        profile=_PROFILE,
    ),
    "job posting": _example(
        {
            "description": "A representation of a job posting",
            "type": "object",
            "required": ["title", "company", "location", "description"],
            "properties": {**_texts(*_JOB), "salary": {"type": "number", "minimum": 0}, "applicationDeadline": _DATE},
        },
        _kinds(*_JOB, salary="number", applicationDeadline="text"),
        {"title": "Engineer", "company": "C", "location": "L", "description": "D", "salary": "1200.5"},
        {"title": "Engineer", "company": "C", "location": "L", "description": "D", "salary": 1200.5},
    ),
    "movie": _example(
        {
            "description": "A representation of a movie",
            "type": "object",
            "required": ["title", "director", "releaseDate"],
            "properties": {
                **_texts("title", "director"),
                "releaseDate": _DATE,
                "genre": {"type": "string", "enum": ["Action", "Comedy", "Drama", "Science Fiction"]},
                "duration": _TEXT,
                "cast": {"type": "array", "items": _TEXT, "additionalItems": False},
            },
        },
        _kinds("title", "director", "releaseDate", "duration", genre="choice", cast=["text", "text"]),
        {"title": "T", "director": "D", "releaseDate": "2026-01-01", "genre": "3", "cast.0": "a", "cast.1": "b"},
        {"title": "T", "director": "D", "releaseDate": "2026-01-01", "genre": "Science Fiction", "cast": ["a", "b"]},
    ),
    "person": _example(
        {
            "title": "Person",
            "type": "object",
            "properties": {
                "firstName": {"type": "string", "description": "The person's first name."},
                "lastName": {"type": "string", "description": "The person's last name."},
                "age": {"description": "Age in years, zero or more.", "type": "integer", "minimum": 0},
            },
        },
        _kinds("firstName", "lastName", age="integer"),
        {"firstName": "John", "lastName": "Doe", "age": "21"},
        {"firstName": "John", "lastName": "Doe", "age": 21},
    ),
    "things in arrays": _example(
        {
            "description": "Arrays of strings and objects",
            "title": "Arrays",
            "type": "object",
            "properties": {"fruits": _TEXTS, "vegetables": {"type": "array", "items": {"$ref": "#/$defs/veggie"}}},
        },
        {"fruits": ["text"], "vegetables": [{"veggieName": "text", "veggieLike": "yes/no"}]},
        {"fruits.0": "apple", "vegetables.0.veggieName": "potato", "vegetables.0.veggieLike": "true"},
        {"fruits": ["apple"], "vegetables": [{"veggieName": "potato", "veggieLike": True}]},
        veggie={
            "type": "object",
            "required": ["veggieName", "veggieLike"],
            "properties": {
                "veggieName": {"type": "string", "description": "The name of the vegetable."},
                "veggieLike": {"type": "boolean", "description": "Do I like this vegetable?"},
            },
        },
    ),
    "user profile": _example(
        _PROFILE,
        _PROFILE_KINDS | {"interests": ["text"]},
        {"username": "u", "email": "u@x.y", "age": "0", "interests.0": "photos"},
        {"username": "u", "email": "u@x.y", "age": 0, "interests": ["photos"]},
    ),
}
