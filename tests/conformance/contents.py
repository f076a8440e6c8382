"""What the suite's tools, prompts and resources hold; the suite prescribes each."""

from typing import Any

import mcp_types as types

IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8"
    "z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
AUDIO = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="


def text(content: str) -> types.TextContent:
    """Return a text block."""
    return types.TextContent(type="text", text=content)


def image() -> types.ImageContent:
    """Return a picture of one pixel."""
    return types.ImageContent(type="image", data=IMAGE, mime_type="image/png")


def embedded(uri: str, mime: str, content: str) -> types.EmbeddedResource:
    """Return a resource within a message."""
    held = types.TextResourceContents(uri=uri, mime_type=mime, text=content)
    return types.EmbeddedResource(type="resource", resource=held)


def form(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a form whose fields are all required."""
    return {"type": "object", "properties": properties, "required": [*properties]}


def asked(message: str = "What is your name?", **properties: dict[str, Any]) -> types.ElicitRequest:
    """Return a question for the user; for a name when no properties are given."""
    schema = form(**properties) if properties else form(name={"type": "string"})
    params = types.ElicitRequestFormParams(message=message, requested_schema=schema)
    return types.ElicitRequest(params=params)


def sampled(prompt: str) -> types.CreateMessageRequest:
    """Return a question for the client's model."""
    said = types.SamplingMessage(role="user", content=text(prompt))
    params = types.CreateMessageRequestParams(messages=[said], max_tokens=100)
    return types.CreateMessageRequest(params=params)


DEFAULTS = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "default": True},
    },
}

_TITLED = [{"const": f"value{n}", "title": f"{n}"} for n in ("One", "Two", "Three")]
_PLAIN = ["option1", "option2", "option3"]
ENUMS = form(
    untitledSingle={"type": "string", "enum": _PLAIN},
    titledSingle={"type": "string", "oneOf": _TITLED},
    untitledMulti={"type": "array", "items": {"type": "string", "enum": _PLAIN}},
    titledMulti={"type": "array", "items": {"anyOf": _TITLED}},
    legacyEnum={"type": "string", "enum": _PLAIN, "enumNames": ["One", "Two", "Three"]},
)

SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
