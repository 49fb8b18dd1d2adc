"""Small pieces that both documents are put together from."""

from __future__ import annotations

from typing import Any

import msgspec

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "integer", "description": "毫秒 UTC / milliseconds UTC"}
MAYBE_TIME: Schema = {"type": ["integer", "null"], "description": "毫秒 UTC / milliseconds UTC"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
YES_NO: Schema = {"type": "boolean"}
NO_TOKEN = "令牌不对 / wrong token"
LONG = "请求过长 / too long"
FIELD_WRONG = "字段有误 / a field is wrong"
ERROR = "#/components/schemas/Error"


def one_of(*values: Any) -> Schema:
    return {"enum": list(values)}


def listed(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def shaped(**fields: Schema) -> Schema:
    """An object that has all of these; more may come."""
    return {"type": "object", "required": list(fields), "properties": fields}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def types(*kinds: type) -> dict[str, Schema]:
    """The schemas of these types, by name. Python's own pattern for an end is none of JSON Schema's."""
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    found: dict[str, Schema] = _portable(components)
    return found


def _portable(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            name: value.replace(r"\Z", "$") if name == "pattern" else _portable(value)
            for name, value in schema.items()
            if name != "title"
        }
    return [_portable(each) for each in schema] if isinstance(schema, list) else schema


def takes(schema: Schema, example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def answers(said: str, schema: Schema) -> dict[str, Any]:
    return {"description": said, "content": {"application/json": {"schema": schema}}}


def wrong(**whys: str) -> dict[str, Any]:
    """Answers that say what is wrong: `_400="…"`."""
    return {
        status.strip("_"): {"description": why, "content": {"application/json": {"schema": {"$ref": ERROR}}}}
        for status, why in whys.items()
    }


def within(name: str, said: str, schema: Schema, example: Any = None) -> dict[str, Any]:
    """A part of the address."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": said,
        "schema": schema,
        **({"example": example} if example is not None else {}),
    }


def behind(name: str, said: str, schema: Schema) -> dict[str, Any]:
    """A part of the query."""
    return {"name": name, "in": "query", "required": False, "description": said, "schema": schema}


def error(*extra: str) -> Schema:
    """How both doors say no."""
    inner = shaped(field=TEXT | {"description": "哪个字段 / which field"}, message=TEXT)
    inner["properties"] |= {name: TEXT for name in extra}
    return shaped(error=inner)


def document(title: str, said: str, paths: dict[str, Any], schemas: dict[str, Schema], security: Schema) -> Schema:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": said},
        "paths": paths,
        "components": {"securitySchemes": security, "schemas": schemas},
    }
