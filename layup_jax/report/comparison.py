"""Runs side by side: read from their folders, checked to be comparable, grouped over seeds.

runs = read_runs(["runs/a", "runs/b"])
check_comparable(runs)                  # one sentence about the first key that differs
comparison = compare(runs)              # one group for each row of the table and line of a figure
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from layup_jax.config import to_dict
from layup_jax.errors import ConfigError, ReportError, RunFolderError
from layup_jax.metrics import RunFolder, RunSummary
from layup_jax.metrics.series import WorkerSeries, read_series

Settings = Mapping[str, Any]

# What is trained, and for how long; algorithms are compared where all of this is equal.
_TASK = (
    *("batch_size", "compute_dtype", "model", "data", "optimizer", "stop", "evaluation"),
    "emulation",
)
_PLACES = ("data.data_dir", "data.memory_limit_mb")
_IDENTITY = ("name", "output", "seed")
# In columns of their own, or nobody's business.
_NOT_SHOWN = (*_IDENTITY, "strategy.name", "data.data_dir")
_NO_SUMMARY = "not ended: there is no summary.json, so the run still trains or was killed"


class Run(NamedTuple):
    """One run, in whatever way it ended.

    Attributes:
      path: of its folder, as given.
      settings: its configuration, with dotted keys.
      workers: how many.
      status: finished, or in words what happened instead.
      emulated: whether it computed on an emulated accelerator.
      summary: None if it has not ended.
      series: one for each worker that wrote metrics.
    """

    path: Path
    settings: Settings
    workers: int
    status: str
    emulated: bool
    summary: RunSummary | None
    series: tuple[WorkerSeries, ...]


class Group(NamedTuple):
    """Finished runs that differ in nothing but their seed, or one run.

    Attributes:
      label: unlike that of any other group.
      runs: at least one.
    """

    label: str
    runs: tuple[Run, ...]


class Comparison(NamedTuple):
    """What a report is about.

    Attributes:
      groups: in the order in which their first runs were given.
      shared: settings that are equal in all runs; names, seeds, algorithms and places left out.
      differing: keys of those that are not; likewise.
      emulated: whether a run computed on an emulated accelerator.
    """

    groups: tuple[Group, ...]
    shared: Settings
    differing: tuple[str, ...]
    emulated: bool


def read_runs(paths: Sequence[str | Path]) -> tuple[Run, ...]:
    """Reads run folders, in the given order.

    Raises:
      ReportError: there is none, or one comes twice.
      RunFolderError: one is no run folder, or of another version.
    """
    if not paths:
        raise ReportError("a report needs run folders, got none; name some, such as runs/demo")
    times = Counter(Path(path).resolve() for path in paths)
    for path in paths:
        if times[Path(path).resolve()] > 1:
            raise ReportError(
                f"run folder '{path}' must be given once, got it twice; leave one out"
            )
    return tuple(_read_run(RunFolder.open(path)) for path in paths)


def check_comparable(runs: Sequence[Run]) -> None:
    """Makes sure that all runs train the same model on the same data with the same effort.

    Raises:
      ReportError: the first key that differs, and the two runs between which it does.
    """
    first = runs[0]
    for run in runs:
        for key in _keys([first, run]):
            mine, theirs = first.settings.get(key), run.settings.get(key)
            if mine != theirs and _is_of_task(key):
                raise ReportError(
                    f"config.{key} must be equal in runs that are compared, got {mine!r} in "
                    f"'{first.path}' and {theirs!r} in '{run.path}'; leave one out, or add --mixed"
                )


def compare(runs: Sequence[Run]) -> Comparison:
    """Groups runs over seeds, and finds in which settings they differ."""
    shown = [key for key in _keys(runs) if key not in _NOT_SHOWN]
    differing = tuple(
        key
        for key in shown
        if any(run.settings.get(key) != runs[0].settings.get(key) for run in runs)
    )
    shared = {key: runs[0].settings.get(key) for key in shown if key not in differing}
    emulated = any(run.emulated for run in runs)
    return Comparison(_labelled(_grouped(runs)), shared, differing, emulated)


def _read_run(folder: RunFolder) -> Run:
    try:
        config, series = folder.read_config(), read_series(folder)
    except (ConfigError, OSError) as error:
        raise RunFolderError(
            f"'{folder.path}' must be a run folder of this version, got "
            f"'{str(error).partition(';')[0]}'; leave it out or repeat the run"
        ) from error
    summary = folder.read_summary()
    return Run(
        path=folder.path,
        settings=dict(_flat(to_dict(config))),
        workers=len(series) if summary is None else summary.workers,
        status=_status(summary),
        emulated=config.emulation.is_set,
        summary=summary,
        series=series,
    )


def _status(summary: RunSummary | None) -> str:
    if summary is None:
        return _NO_SUMMARY
    return summary.status if summary.failure is None else f"{summary.status}: {summary.failure}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            # JSON makes lists of the tuples in options.
            yield prefix + key, tuple(value) if isinstance(value, list) else value


def _keys(runs: Sequence[Run]) -> list[str]:
    """All keys, in the order of the configuration."""
    return list(dict.fromkeys(key for run in runs for key in run.settings))


def _is_of_task(key: str) -> bool:
    return key.partition(".")[0] in _TASK and key not in _PLACES


def _grouped(runs: Sequence[Run]) -> list[tuple[Run, ...]]:
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        settings = [each for each in sorted(run.settings.items()) if each[0] not in _IDENTITY]
        # Means over runs that ended early would be of nothing in particular.
        alone = None if run.status == "finished" else run.path
        groups.setdefault((repr(settings), run.workers, alone), []).append(run)
    return [tuple(group) for group in groups.values()]


def _labelled(groups: Sequence[tuple[Run, ...]]) -> tuple[Group, ...]:
    labels = [_label(group) for group in groups]
    return tuple(
        Group(label if labels.count(label) == 1 else str(group[0].path), group)
        for label, group in zip(labels, groups, strict=True)
    )


def _label(runs: tuple[Run, ...]) -> str:
    names = [run.path.resolve().name for run in runs]
    if len(runs) == 1:
        return names[0]
    stems = {name.rstrip("0123456789_-. ") for name in names}
    stem = stems.pop() if len(stems) == 1 else ""
    return f"{stem or runs[0].settings['strategy.name']} ({len(runs)} runs)"
