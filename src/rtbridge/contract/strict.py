"""Strict validation of decoded input, whichever codec decoded it.

pydantic knows two kinds of input: JSON text, and Python objects. Ours is neither: it has JSON's types, where
a date is a string and a tuple a list, and real `bytes` besides, which JSON text cannot carry. So we take the
schema that pydantic made of a type and ask for strictness exactly where a *scalar* is read: a number is never
made of a string, nor bytes of text. Everything else (containers, dataclasses, unions, the author's own
validators) is left to pydantic. A kind of node that we do not know is left as it is: at worst it accepts what
could be converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator

_SCALARS = frozenset({"bool", "bytes", "float", "int", "str"})
# Read from text only, so that 86400 is not taken for a date.
_WRITTEN = frozenset({"date", "datetime", "time", "timedelta", "uuid", "url", "multi-host-url"})
_INSTANCES = frozenset({"dataclass", "model"})
# Where a node holds other nodes. Keys of maps are left out on purpose: in JSON they are strings, whatever
# they mean.
_CHILDREN = frozenset(
    {
        "arguments_schema",
        "choices",
        "definitions",
        "extras_schema",
        "fields",
        "items_schema",
        "schema",
        "steps",
        "values_schema",
    }
)
Node = Mapping[str, Any]


def input_validator(schema: CoreSchema) -> SchemaValidator:
    """A validator of what a client sent."""
    return _validator(_strict(schema))


def output_validator(schema: CoreSchema) -> SchemaValidator:
    """A validator of what the application publishes. Looks into instances, which pydantic takes on trust."""
    return _validator(_distrustful(schema))


def _validator(node: Node) -> SchemaValidator:
    schema: Any = node
    try:
        # Otherwise newer versions would put a model's own, unchanged validator in place of our node for it.
        return SchemaValidator(schema, _use_prebuilt=False)
    except TypeError:
        return SchemaValidator(schema)


def _strict(node: Node) -> Node:
    kind = node["type"]
    if kind == "json-or-python":
        return _in_place_of(node, _strict(node["json_schema"]))
    if kind == "lax-or-strict":
        return _in_place_of(node, _strict(node["strict_schema"]))
    if kind in _SCALARS:
        return {"strict": True, **node}  # what the author wrote, such as Field(strict=False), comes last
    if kind in _WRITTEN and node.get("strict") is not False:
        return _after({"type": "str", "strict": True}, {**node, "strict": False})
    if kind == "enum" and node.get("sub_type") in _SCALARS:
        return _after({"type": node["sub_type"], "strict": True}, {**node, "strict": False})
    return {key: _each(value, _strict) if key in _CHILDREN else value for key, value in node.items()}


def _distrustful(node: Node) -> Node:
    changed = {key: _each(value, _distrustful) if _may_hold(key) else value for key, value in node.items()}
    if node["type"] in _INSTANCES and not _takes_init_only(node):
        changed["revalidate_instances"] = "always"
    return changed


def _takes_init_only(node: Node) -> bool:
    """Whether instances cannot be made again of their fields, because `__init__` took InitVars too."""
    while "schema" in node:
        node = node["schema"]
    return bool(node.get("collect_init_only"))


def _may_hold(key: str) -> bool:
    return key in _CHILDREN or key in (
        "json_schema",
        "keys_schema",
        "lax_schema",
        "python_schema",
        "strict_schema",
    )


def _each(value: Any, change: Any) -> Any:
    """`change` applied to all nodes in the value of a child key: a node, nodes by name, or a list."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            return change(value)
        return {name: _each(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    if isinstance(value, tuple):  # a choice of a union with its label
        return (_each(value[0], change), *value[1:])
    return value


def _after(first: Node, second: Node) -> Node:
    inner = {key: value for key, value in second.items() if key != "ref"}
    return _in_place_of(second, {"type": "chain", "steps": [first, inner]})


def _in_place_of(old: Node, new: Node) -> Node:
    """`new`, under the name by which other nodes refer to `old`."""
    return {**new, "ref": old["ref"]} if "ref" in old else new
