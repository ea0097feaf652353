"""Configuration files: found by path, executed, and overridden from the command line.

    config = load_config("configs/digits_layup.py")             # what its get_config() returns
    config = load_config("configs/digits.py:slowmo")            # what get_config("slowmo") returns
    values = overridden(config, [Override("seed", "3"), Override("model.options.channels", "(8,)")])
    run = validated(values)

A file may import its neighbours: its folder is on the path while it is executed, as for a script.
What it takes as a name it may list in NAMES; any other name is then refused with the nearest of these.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib.util
import inspect
import sys
import traceback
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from layup_jax.config import RunConfig
from layup_jax.errors import ConfigError, LayupError, nearest

_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


class Override(NamedTuple):
    """One `--config.path=text` of a command line.

    Attributes:
      path: of the key, such as "optimizer.learning_rate".
      text: of the value.
    """

    path: str
    text: str


class _Chosen(NamedTuple):
    """What `--config` names: a file, and what its get_config() is given, if anything."""

    file: Path
    name: str | None


def load_config(path: str) -> Mapping[str, Any]:
    """Executes a configuration file.

    Args:
      path: of a Python file that defines get_config(), or path:NAME for get_config(NAME).

    Returns:
      What get_config() returns: a ConfigDict, or nested mappings; not yet validated.

    Raises:
      ConfigError: no such file, an error in it, no get_config() that gives a configuration, or one
        that does not take what stands after the colon.
    """
    chosen = _divided(path)
    file = chosen.file
    if not file.is_file():
        raise ConfigError(f"configuration file '{file}' was not found; {_nearest_file(file)}")
    spec = importlib.util.spec_from_file_location("layup_config_file", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"a configuration file must end in .py, got '{file}'; rename it")
    module = importlib.util.module_from_spec(spec)
    with _on_path(file.parent), _errors_of(file):
        spec.loader.exec_module(module)
        config = _get_config(module, chosen)
    if not isinstance(config, Mapping) and not hasattr(config, "items"):
        raise ConfigError(
            f"get_config() in '{path}' must return a configuration, got {config!r}; "
            "start from layup_jax.config.default_config() and return it"
        )
    return config


def overridden(config: Mapping[str, Any], overrides: Iterable[Override]) -> dict[str, Any]:
    """A configuration as nested dicts, with values replaced; later overrides win.

    A text is read as the type of its key. One that cannot be stays text, and a key that does not
    exist is added: `layup_jax.config.validated` says what is wrong with them.

    Raises:
      ConfigError: an override goes below a key that holds a value.
    """
    values = _plain(config)
    for path, text in overrides:
        *groups, key = path.split(".")
        inner = values
        for depth, group in enumerate(groups):
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                holder = ".".join(groups[: depth + 1])
                raise ConfigError(
                    f"config.{holder} holds a value, not a group of keys, got --config.{path}; "
                    f"use --config.{holder}=<value>"
                )
        inner[key] = _read(text, _hint(path))
    return values


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts with references resolved, whatever mapping it was."""
    if hasattr(config, "to_dict"):
        config = config.to_dict()  # type: ignore[attr-defined]  # a ConfigDict
    return {
        key: _plain(value) if isinstance(value, Mapping) or hasattr(value, "to_dict") else value
        for key, value in config.items()
    }


def _hint(path: str) -> Any:
    """The declared type of a key; Any below free options and for keys that do not exist."""
    hint: Any = RunConfig
    for name in path.split("."):
        hint = typing.get_type_hints(hint).get(name, Any) if isinstance(hint, type) else Any
    return hint


def _read(text: str, hint: Any) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in kinds and text.lower() == "none":
        return None
    for kind in (int, float):
        if kind in kinds:
            with contextlib.suppress(ValueError):
                return kind(text)
    if bool in kinds:
        return _BOOLEANS.get(text.lower(), text)
    if {str, float, int} & {*kinds} and not any(map(typing.get_origin, kinds)):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _divided(path: str) -> _Chosen:
    """The name stands after the last colon, unless a file has the colon in its own name."""
    file, colon, name = path.rpartition(":")
    if not colon or Path(path).is_file():
        return _Chosen(Path(path), None)
    return _Chosen(Path(file), name)


def _get_config(module: types.ModuleType, chosen: _Chosen) -> Any:
    """Calls get_config(), after a look at whether it takes what it is given."""
    file, name = chosen
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise ConfigError(
            f"configuration file '{file}' must define get_config(), found none; "
            "see configs/digits_layup.py"
        )
    names: Sequence[str] = getattr(module, "NAMES", ())
    given = () if name is None else (name,)
    try:
        inspect.signature(get_config).bind(*given)
    except TypeError:
        raise _misgiven(chosen, names) from None
    if name is not None and names and name not in names:
        raise ConfigError(f"unknown name '{name}' for '{file}'; {nearest(name, names)}")
    return get_config(*given)


def _misgiven(chosen: _Chosen, names: Sequence[str]) -> ConfigError:
    """About a name too many, or one too few."""
    file, name = chosen
    if name is not None:
        return ConfigError(
            f"configuration file '{file}' takes no name, got '{name}'; use --config={file}"
        )
    known = f", NAME being one of: {', '.join(sorted(names))}" if names else ""
    return ConfigError(
        f"configuration file '{file}' needs a name, got none; use --config={file}:NAME{known}"
    )


@contextlib.contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    """Turns whatever a configuration file raises into one sentence with its line."""
    try:
        yield
    except LayupError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if isinstance(error, SyntaxError):
            place = f"{error.filename or file}, line {error.lineno}"
            reason = error.msg
        else:
            place = _place(error, file)
        raise ConfigError(
            f"configuration file {place} must run, got {type(error).__name__}: {reason}; mend that line"
        ) from error


def _place(error: Exception, file: Path) -> str:
    """The last line of a traceback that is in the file or in one of its neighbours."""
    folder = file.parent.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve().parent == folder]
    return (
        f"{file.parent / Path(own[-1].filename).name}, line {own[-1].lineno}" if own else str(file)
    )


def _nearest_file(file: Path) -> str:
    names = [each.name for each in file.parent.glob("*.py")] if file.parent.is_dir() else []
    close = difflib.get_close_matches(file.name, names, n=1)
    if close:
        return f"did you mean '{file.parent / close[0]}'?"
    return "give the path of a file such as configs/digits_layup.py"
