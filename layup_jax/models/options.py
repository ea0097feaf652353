"""Checks of the options that builders of models take; each refusal is one sentence.

check_sizes("a ResNet", width=64)
check_choice("stem", "imagnet", ("cifar", "imagenet"))     # unknown stem 'imagnet'; did you mean ...
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from layup_jax.errors import ConfigError, nearest


def check_sizes(model: str, **sizes: int) -> None:
    """Refuses sizes below 1.

    Args:
      model: name for the message.
      **sizes: numbers of something, by the names of their options.

    Raises:
      ConfigError: the first that is too small.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"the {name} of {model} must be at least 1, got {size}; raise it")


def length_of(model: str, input_shape: Sequence[int]) -> int:
    """Of a sequence of tokens.

    Raises:
      ConfigError: samples are something else.
    """
    if len(input_shape) != 1:
        raise ConfigError(
            f"{model} needs sequences of tokens, of shape (time,), got {tuple(input_shape)}; "
            "use another model"
        )
    return input_shape[0]


def check_choice(option: str, chosen: str, known: Collection[str]) -> None:
    """Refuses what is not among the known.

    Raises:
      ConfigError: names the nearest known one, or all.
    """
    if chosen not in known:
        raise ConfigError(f"unknown {option} '{chosen}'; {nearest(chosen, known)}")
