"""Frozen dataclasses <-> YAML, with dotted overrides and errors that name file, line, key and the nearest valid key.

    config = load(RNNMSConfig, "mine.yaml", ["hidden_size=512", "mel.fmin=80"])

Values are coerced by the field's declared type, never by YAML's guess: `1e-4` is a float (YAML 1.1 says string), `no`
in a str field stays text, 1.5 or true in an int field is an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names where, what came and what was expected."""


def load(cls: type[T], path: str | Path | None = None, overrides: Sequence[str] = ()) -> T:
    """An instance of the dataclass `cls` from a YAML file (None: defaults), then `a.b=value` overrides in order.

    Raises ConfigError for a missing or malformed file, an unknown key or a value that does not fit.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        tree = _read(Path(path))
    for override in overrides:
        _override(tree, override)
    return _build(cls, tree, "")


def from_dict(cls: type[T], values: dict[str, Any], where: str = "config") -> T:
    """An instance of `cls` from plain values, as `to_dict` gives them. Raises ConfigError, naming `where`."""
    return _build(cls, {key: _located(value, where) for key, value in values.items()}, "")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values (dict, list, str, int, float, bool, None) of a dataclass: what YAML and checkpoints hold."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def dump(config: Any) -> str:
    """YAML text that `load` reads back to an equal config."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


@dataclasses.dataclass(frozen=True)
class _Value:
    """A scalar or a list as it was written, and where."""

    content: Any
    where: str


def _located(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _located(inner, where) for key, inner in value.items()}
    return _Value([_located(inner, where) for inner in value] if isinstance(value, (list, tuple)) else value, where)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file; expected a YAML config in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a YAML config file") from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{name}:1: expected `key: value` lines, got a {_kind(node)}")
    tree = _tree(node, name)
    assert isinstance(tree, dict), "a mapping node gives a dict"
    return tree


def _kind(node: yaml.Node) -> str:
    return type(node).__name__.removesuffix("Node").lower()


def _tree(node: yaml.Node, name: str) -> Any:
    where = f"{name}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        tree: dict[str, Any] = {}
        for key, value in node.value:
            line = f"{name}:{key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode) or key.value in tree:
                raise ConfigError(f"{line}: key {getattr(key, 'value', '?')} is not a plain, single key")
            tree[key.value] = _tree(value, name)
        # an empty mapping still needs a place for error messages
        return tree if tree else _Value({}, where)
    if isinstance(node, yaml.SequenceNode):
        return _Value([_tree(item, name) for item in node.value], where)
    assert isinstance(node, yaml.ScalarNode), f"unknown YAML node {_kind(node)}"
    null = node.tag == "tag:yaml.org,2002:null"
    return _Value(None if null else node.value, where)


def _override(tree: dict[str, Any], text: str) -> None:
    """Set `a.b=value` in the tree; the value is written as in YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected key=value, for example train.lr=1e-4")
    *path, last = key.strip().split(".")
    for part in path:
        inner = tree.get(part)
        if not isinstance(inner, dict):
            inner = tree[part] = {}
        tree = inner
    tree[last] = _parse(f"v: {value}" if value.strip() else "v: ''", f"--set {text}")["v"]


def _build(cls: type[T], tree: dict[str, Any], prefix: str) -> T:
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values = {}
    for key, value in tree.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, 1, 0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(names)}"
            raise ConfigError(f"{_where(value)}: unknown key {prefix}{key} ({hint})")
        values[key] = _coerce(hints[key], value, prefix + key)
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{_where(tree)}: {error}") from None


def _where(value: Any) -> str:
    """The place of a value, or of the first value in it (without the line for a whole mapping)."""
    while isinstance(value, dict):
        if not value:
            return "config"
        value = next(iter(value.values()))
    return value.where if isinstance(value, _Value) else "config"


def _coerce(hint: Any, value: Any, key: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        return None if isinstance(value, _Value) and value.content is None else _coerce(inner[0], value, key)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, _Value) and value.content not in ({}, None):
            raise ConfigError(f"{value.where}: {key} is {value.content!r}; expected keys of its own under it")
        return _build(typing.cast(type, hint), value if isinstance(value, dict) else {}, key + ".")
    if isinstance(value, dict):
        raise ConfigError(f"{_where(value)}: {key} has keys under it; expected {_named(hint)}")
    if origin in (tuple, list):
        return _sequence(hint, value, key)
    return _scalar(hint, value, key)


def _sequence(hint: Any, value: _Value, key: str) -> Any:
    inner, is_tuple = get_args(hint), get_origin(hint) is tuple
    if not isinstance(value.content, list):
        raise ConfigError(f"{value.where}: {key} is {value.content!r}; expected a list, for example [1, 2]")
    fixed = is_tuple and not (len(inner) == 2 and inner[1] is Ellipsis)
    if fixed and len(inner) != len(value.content):
        raise ConfigError(f"{value.where}: {key} has {len(value.content)} values; expected {len(inner)}")
    kinds: Iterable[Any] = inner if fixed else [inner[0]] * len(value.content)
    items = [_coerce(kind, item, f"{key}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value.content))]
    return tuple(items) if is_tuple else items


def _scalar(hint: Any, value: _Value, key: str) -> Any:
    text = value.content
    try:
        if get_origin(hint) is Literal:
            return next(choice for choice in get_args(hint) if str(choice) == str(text))
        if hint is bool:
            return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[str(text).lower()]
        if hint is int and not isinstance(text, bool):
            return int(str(text).replace("_", ""))
        if hint is float and not isinstance(text, bool):
            return float(str(text))
        if hint in (str, Path) and isinstance(text, (str, int, float)):
            return hint(text)
    except (ValueError, KeyError, StopIteration):
        pass
    near = difflib.get_close_matches(str(text), [str(c) for c in get_args(hint)], 1) if get_args(hint) else []
    more = f" (did you mean {near[0]}?)" if near else ""
    raise ConfigError(f"{value.where}: {key} is {text!r}; expected {_named(hint)}{more}")


def _named(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(hint))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return names.get(hint, str(hint))
