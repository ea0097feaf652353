"""Records of a configuration from nested mappings, and ConfigDicts from records: any dataclasses will do.

    config = config_dict(RunConfig)      # every key at its default, ready for overrides
    run = record_of(RunConfig, config)   # the frozen record, or one sentence about what is wrong

This module alone knows ml_collections, and imports it only when asked for a ConfigDict.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any

from layup_jax.errors import ConfigError, nearest


def config_dict(record_type: type) -> Any:
    """A ConfigDict with every key of a record at its default; what can be None takes its other type."""
    from ml_collections import ConfigDict

    return ConfigDict(_placeholders(record_type), convert_dict=True)


def record_of(record_type: type, values: Any, prefix: str = "") -> Any:
    """A record of these values; missing keys take their defaults.

    Args:
      record_type: a dataclass, whose fields may be dataclasses.
      values: nested mappings.
      prefix: of the keys in messages.

    Raises:
      ConfigError: unknown key or wrong type.
    """
    if not isinstance(values, Mapping) and not hasattr(values, "items"):
        group = f"config.{prefix}".rstrip(".")
        raise ConfigError(
            f"{group} must be a group of keys, got {values!r}; set {group}.<key> instead"
        )
    hints = typing.get_type_hints(record_type)
    given = {}
    for key, value in values.items():
        if key not in hints:
            raise ConfigError(f"unknown key config.{prefix}{key}; {_remedy(key, hints)}")
        if dataclasses.is_dataclass(hints[key]):
            given[key] = record_of(hints[key], value, f"{prefix}{key}.")
        else:
            given[key] = _typed(hints[key], value, prefix + key)
    return record_type(**given)


def _remedy(key: str, known: Collection[str]) -> str:
    first, dot, rest = key.partition(".")
    is_path = dot and first in known
    return f"nest it: {{'{first}': {{'{rest}': ...}}}}" if is_path else nearest(key, known)


def _placeholders(record_type: type) -> dict[str, Any]:
    from ml_collections.config_dict import FieldReference, placeholder

    hints = typing.get_type_hints(record_type)
    values = {}
    for field in dataclasses.fields(record_type):
        hint = hints[field.name]
        default = _default(field)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            values[field.name] = _placeholders(hint)
        elif default is None:
            kind = next(each for each in typing.get_args(hint) if each is not type(None))
            values[field.name] = placeholder(kind)
        elif isinstance(hint, types.UnionType):  # a ConfigDict would keep the default's type
            values[field.name] = FieldReference(default, field_type=object)
        else:
            values[field.name] = default
    return values


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _typed(hint: Any, value: Any, path: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in kinds:
        origin = typing.get_origin(kind) or kind
        if origin is Mapping:
            items = getattr(value, "items", None)  # a ConfigDict is no Mapping
            if callable(items):
                return dict(items())  # pyright: ignore[reportArgumentType, reportCallIssue]
        elif origin is tuple:
            items = _items(typing.get_args(kind)[0], value)
            if items is not None:
                return items
        elif origin is float and type(value) in (int, float):
            if not math.isfinite(value):
                raise ConfigError(f"config.{path} must be finite, got {value}; change its value")
            return float(value)
        elif type(value) is origin:
            return value
    wanted = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise ConfigError(
        f"config.{path} must be {wanted.replace('NoneType', 'None')}, "
        f"got {value!r} of type {type(value).__name__}; change its value"
    )


def _items(kind: type, value: Any) -> tuple[Any, ...] | None:
    """A tuple of numbers, also from a list or from one number; None if it is none."""
    allowed = (int, float) if kind is float else (kind,)
    items = value if isinstance(value, list | tuple) else (value,)
    if any(type(item) not in allowed for item in items):
        return None
    return tuple(kind(item) for item in items)
