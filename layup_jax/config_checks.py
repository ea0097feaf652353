"""What the values of a configuration may be, alone and together.

    check(record)          # one sentence about the first that may not

The tables name keys as overrides do, below `config.`; a key that is None is not checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from layup_jax.errors import ConfigError, nearest

if TYPE_CHECKING:
    from layup_jax.config import DelayConfig, RunConfig

_CHOICES = {
    "optimizer.name": ("sgd", "adamw"),
    "optimizer.schedule": ("constant", "cosine", "step"),
    "strategy.name": (
        "a2cid2",
        "ad_psgd",
        "co2",
        "d_psgd",
        "ddp",
        "diloco",
        "fused",
        "gosgd",
        "hogwild",
        "lap_sgd",
        "layup",
        "local",
        "local_sgd",
        "lpp_sgd",
        "osgp",
        "pd_asgd",
        "sgp",
        "slowmo",
        "streaming_diloco",
    ),
    "strategy.mixing": ("pairwise", "push_sum"),
    "strategy.peer_per": ("step", "segment"),
    "pipeline": ("auto", "interleaved", "decoupled", "shared"),
    "compute_dtype": ("float32", "bfloat16"),
    "batch_statistics": ("local", "gossip", "reestimate"),
    "remat": ("none", "dots", "full"),
    "threads.weights": ("stored", "live"),
    "delay.pattern": ("constant", "exponential", "every"),
    "transport.data_plane": ("auto", "mpi4jax", "host"),
    "transport.wire_dtype": ("float32", "bfloat16"),
    "evaluation.model": ("mean", "own"),
    "host.bind": ("auto", "cores", "none"),
    "data.augment": ("none", "crop", "crop_flip", "resized_crop"),
    "data.normalize": ("none", "cifar10", "cifar100", "imagenet2012"),
}
_TOPOLOGIES = (
    "complete",
    "exponential",
    "hypercube",
    "one_peer_exponential",
    "ring",
    "star",
    "torus",
)
_AT_LEAST = {
    "batch_size": 1,
    "local_devices": 1,
    "prefetch": 0,
    "log_every_steps": 1,
    "seed": 0,
    "stop.steps": 1,
    "stop.samples": 1,
    "optimizer.learning_rate": 0,
    "optimizer.reference_batch": 1,
    "optimizer.warmup_steps": 0,
    "optimizer.warmup_epochs": 0,
    "optimizer.decay_steps": 1,
    "optimizer.weight_decay": 0,
    "optimizer.accumulate_steps": 1,
    "strategy.period": 1,
    "strategy.local_from": 0,
    "strategy.fragments": 1,
    "strategy.delay_steps": 0,
    "evaluation.every_steps": 0,
    "transport.sends_in_flight": 1,
    "delay.seconds": 0,
    "delay.backward_seconds": 0,
    "delay.message_seconds": 0,
    "delay.every": 1,
    "delay.slowdown": 1,
    "emulation.forward_seconds": 0,
    "emulation.backward_seconds": 0,
    "threads.queue": 1,
    "threads.shared": 1,
    "threads.partial_from": 0,
    "data.test_samples": 1,
    "data.context": 1,
    "data.crop_padding": 1,
    "data.image_size": 1,
    "data.mixup": 0,
    "data.memory_limit_mb": 0,
}
_ONE_WAY = ("d_psgd", "gosgd", "osgp", "sgp")
_MOST_SEED = 2**63 - 1  # that a jax key takes
_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "positive",
        lambda value: value > 0,
        (
            "optimizer.clip_norm",
            "stop.epochs",
            "stop.seconds",
            "delay.link_mbit",
            "strategy.rate",
            "strategy.outer_learning_rate",
            "strategy.outer_clip",
        ),
    ),
    ("at most 2**63 - 1", lambda value: value <= _MOST_SEED, ("seed",)),
    (
        "in (0, 1]",
        lambda value: 0 < value <= 1,
        (
            "optimizer.decay_factor",
            "strategy.probability",
            "transport.share",
            "evaluation.target",
        ),
    ),
    ("in [0, 1]", lambda value: 0 <= value <= 1, ("strategy.local_share",)),
    (
        "in [0, 1)",
        lambda value: 0 <= value < 1,
        ("optimizer.momentum", "optimizer.average_decay", "strategy.outer_momentum"),
    ),
)


def check(record: RunConfig) -> None:
    """Checks a record whose types are right.

    Raises:
      ConfigError: unknown name, value out of range, or values that do not go together.
    """
    _check_choices(record)
    _check_numbers(record)
    parse_ratio(record.threads.ratio)
    _check_together(record)
    _check_schedule(record)
    _check_devices(record)
    _check_delay(record.delay)


def parse_ratio(text: str) -> tuple[int, int] | None:
    """Numbers of forward and backward threads; None for "auto".

    Raises:
      ConfigError: it is neither.
    """
    if text == "auto":
        return None
    numbers = [int(each) if each.isdecimal() else 0 for each in text.split(":")]
    if len(numbers) != 2 or min(numbers) < 1:
        raise ConfigError(
            "config.threads.ratio must be auto or numbers of forward and backward threads from 1 on, "
            f"such as '1:2', got '{text}'; change it"
        )
    return numbers[0], numbers[1]


def unused(who: str, group: str, options: Any, takes: Collection[str]) -> list[str]:
    """Sentences about options that were changed though nobody looks at them.

    Args:
      who: does not look at them.
      group: of the options, such as "strategy".
      options: a record of which all fields have defaults.
      takes: names of the options that are looked at.
    """
    return [
        f"{who} has no use for config.{group}.{option.name}, got {value!r}; it changes nothing"
        for option in dataclasses.fields(options)
        if option.name not in takes
        and (value := getattr(options, option.name)) != getattr(type(options)(), option.name)
    ]


def _get(record: RunConfig, path: str) -> Any:
    value: Any = record
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _check_choices(record: RunConfig) -> None:
    for path, choices in _CHOICES.items():
        value = _get(record, path)
        if value not in choices:
            raise ConfigError(f"unknown config.{path} '{value}'; {nearest(value, choices)}")


def _check_numbers(record: RunConfig) -> None:
    for path, least in _AT_LEAST.items():
        value = _get(record, path)
        if value is not None and not value >= least:
            raise ConfigError(f"config.{path} must be at least {least}, got {value}; change it")
    for words, fits, paths in _RANGES:
        for path in paths:
            value = _get(record, path)
            if value is not None and not fits(value):
                raise ConfigError(f"config.{path} must be {words}, got {value}; change it")


def _check_together(record: RunConfig) -> None:
    stop = record.stop
    if not (stop.steps or stop.epochs or stop.seconds or stop.samples):
        raise ConfigError(
            "a run needs an end, got none; set config.stop.steps, .epochs, .seconds or .samples"
        )
    if not record.name or "/" in record.name or record.name.startswith("."):
        raise ConfigError(
            f"config.name must be a plain folder name, got '{record.name}'; change it"
        )
    strategy, plane = record.strategy, record.transport.data_plane
    topology = strategy.topology
    if topology is not None and "." not in topology and topology not in _TOPOLOGIES:
        raise ConfigError(
            f"unknown config.strategy.topology '{topology}'; {nearest(topology, _TOPOLOGIES)}"
        )
    pushes = strategy.name in ("layup", "pd_asgd") and strategy.mixing == "push_sum"
    if (pushes or strategy.name in _ONE_WAY) and plane == "mpi4jax":
        name = "push_sum" if pushes else strategy.name
        raise ConfigError(
            f"{name} needs one-way messages, which the blocking data plane mpi4jax cannot send; "
            "use --config.transport.data_plane=host or another algorithm"
        )


def _check_schedule(record: RunConfig) -> None:
    optimizer, stop = record.optimizer, record.stop
    if optimizer.schedule != "constant" and not (
        optimizer.decay_steps or stop.steps or stop.epochs
    ):
        raise ConfigError(
            f"the {optimizer.schedule} schedule needs its length, got neither "
            "config.optimizer.decay_steps nor config.stop.steps or .epochs; set one of them"
        )
    if any(not 0 < each < 1 for each in optimizer.decay_at):
        raise ConfigError(
            "config.optimizer.decay_at must be fractions of the length, in (0, 1), got "
            f"{optimizer.decay_at}; change them"
        )
    if (optimizer.schedule == "step") != bool(optimizer.decay_at):
        raise ConfigError(
            "config.optimizer.decay_at belongs to the schedule step, got schedule "
            f"'{optimizer.schedule}' with decay_at {optimizer.decay_at}; set or clear both"
        )
    if optimizer.warmup_steps and optimizer.warmup_epochs:
        raise ConfigError(
            "a warm-up is counted in steps or in epochs, got config.optimizer.warmup_steps "
            f"{optimizer.warmup_steps} and .warmup_epochs {optimizer.warmup_epochs}; set one to 0"
        )


def _check_devices(record: RunConfig) -> None:
    threads = record.threads
    if record.local_devices > 1 and (threads.forward_devices or threads.backward_devices):
        raise ConfigError(
            "devices can share each batch (config.local_devices) or take passes in turn "
            "(config.threads.forward_devices and .backward_devices), got both; set "
            "config.local_devices to 1 or the others to ()"
        )


def check_ranks(record: RunConfig, workers: int) -> None:
    """Refuses delays of workers that a run of so many does not have.

    Raises:
      ConfigError: there is one.
    """
    ranks = record.delay.ranks
    absent = [] if isinstance(ranks, str) else [rank for rank in ranks if rank >= workers]
    if absent:
        raise ConfigError(
            f"config.delay.ranks must be among the {workers} workers, 0 to {workers - 1}, got "
            f"{absent[0]}; change it or --workers"
        )


def _check_delay(delay: DelayConfig) -> None:
    ranks = delay.ranks
    if ranks != "all" and (isinstance(ranks, str) or min(ranks, default=0) < 0):
        raise ConfigError(
            f"config.delay.ranks must be ranks, 0 and up, or 'all', got {ranks!r}; change them"
        )
    given = {
        "seconds": delay.seconds > 0,
        "backward_seconds": delay.backward_seconds > 0,
        "message_seconds": delay.message_seconds > 0,
        "slowdown": delay.slowdown > 1,
        "link_mbit": delay.link_mbit is not None,
    }
    asked = [name for name, is_given in given.items() if is_given]
    if asked and not ranks:
        raise ConfigError(
            f"config.delay.ranks must name who is delayed by config.delay.{asked[0]}, got nobody; "
            "set it to ranks such as (1,), or to 'all'"
        )
