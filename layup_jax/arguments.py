"""The arguments of `layup`: what it was asked for, or in one sentence what is wrong with them.

options = parse(["train", "--config=configs/digits_layup.py", "--config.seed=1"])
options.command, options.config, options.overrides
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from layup_jax.config_file import Override
from layup_jax.errors import ConfigError, nearest

COMMANDS = ("train", "doctor", "list", "replay")
_TRAIN_OPTIONS = (
    "--config",
    "--workers",
    "--hosts",
    "--data_dir",
    "--overwrite",
    "--debug",
    "--help",
)
_OVERRIDE = re.compile(r"--config\.([^=]*)(?:=(.*))?", re.DOTALL)

_DESCRIPTION = (
    "Asynchronous decentralized training with layer-wise updates, in JAX and Flax under MPI."
)
_EPILOG = """\
examples:
  layup doctor
  layup list
  layup train --config=configs/digits_layup.py --workers=4
  layup train --config=configs/digits.py:slowmo --workers=4
  layup train --config=configs/digits_layup.py --hosts=a:4,b:4
  layup replay runs/digits_pd_asgd
  mpirun -n 4 --oversubscribe layup train --config=configs/digits_layup.py
  srun --mpi=pmix -n 16 layup train --config=configs/digits_layup.py
"""
_TRAIN_EPILOG = """\
overrides:
  --config.KEY=VALUE           any key of layup_jax/config.py; later ones win
  --config.stop.steps=1000     a number
  --config.strategy.mixing=push_sum --config.transport.data_plane=host
  --config.delay.ranks=(1,) --config.delay.seconds=0.05
  --config.model.options.channels=(16,32)

Ctrl-C ends training after the current step and writes the results so far; a second one ends at once.
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Divides a command line.

    Returns:
      `command`, one of COMMANDS; what belongs to it, as `layup COMMAND --help` says; `overrides`.

    Raises:
      ConfigError: it makes no sense.
    """
    rest, overrides = _take_overrides(argv)
    first = next((each for each in rest if not each.startswith("-")), None)
    if first is not None and first not in COMMANDS:
        raise ConfigError(f"unknown command '{first}'; {nearest(first, COMMANDS)}")
    options, unknown = _parser().parse_known_args(rest)
    if options.command is None:
        raise ConfigError(f"a command must be given, got none; use one of: {', '.join(COMMANDS)}")
    if unknown:
        name = unknown[0].split("=")[0]
        known = _TRAIN_OPTIONS if options.command == "train" else ("--help",)
        raise ConfigError(f"unknown argument '{unknown[0]}'; {nearest(name, known)}")
    if options.command == "train" and not options.config:
        raise ConfigError(
            "train needs a configuration, got none; add --config=configs/digits_layup.py"
        )
    options.overrides = overrides
    return options


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything else does."""

    def error(self, message: str) -> NoReturn:
        """Raises a ConfigError."""
        raise ConfigError(f"{message}; see '{self.prog} --help'")


def _parser() -> Parser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        "layup", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    train = commands.add_parser(
        "train",
        help="train a model with several workers",
        description="Trains what a configuration file says, and writes a run folder.",
        epilog=_TRAIN_EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
        usage="layup train --config=FILE[:NAME] [--workers=N] [--config.KEY=VALUE ...] [options]",
    )
    train.add_argument(
        "--config",
        metavar="FILE[:NAME]",
        help="Python file with get_config(), which is given NAME if there is one",
    )
    train.add_argument(
        "--workers",
        metavar="N",
        type=_workers,
        help="processes to start with mpirun (default: 1, with --hosts one for each slot)",
    )
    train.add_argument(
        "--hosts",
        metavar="HOSTS",
        help="where to start them: names with their slots such as a,b:2, or an Open MPI hostfile, "
        "over ssh; or virtual, see scripts/virtual_cluster.sh (default: here)",
    )
    train.add_argument(
        "--data_dir", metavar="DIR", help="folder of the data sets (default: TFDS's)"
    )
    train.add_argument("--overwrite", action="store_true", help="replace an existing run folder")
    train.add_argument(
        "--debug", action="store_true", help="show tracebacks of expected errors too"
    )
    commands.add_parser(
        "doctor",
        help="check this installation",
        description="Checks this installation, with two processes that really talk to each other.",
        allow_abbrev=False,
    )
    commands.add_parser(
        "list",
        help="list algorithms, topologies, models and data sets",
        description="Lists the algorithms, topologies, models and data sets that a run can have.",
        allow_abbrev=False,
    )
    replay = commands.add_parser(
        "replay",
        help="repeat a recorded worker to the last bit",
        description="Repeats what one worker of a run with --config.record=True did, on one thread, "
        "and checks that its parameters come out the same.",
        allow_abbrev=False,
    )
    replay.add_argument("folder", metavar="FOLDER", help="of the run, such as runs/digits_pd_asgd")
    replay.add_argument(
        "--rank", metavar="N", type=int, default=0, help="of the worker (default: 0)"
    )
    return parser


def _workers(text: str) -> int:
    try:
        workers = int(text)
    except ValueError:
        raise ConfigError(f"--workers must be a number, got '{text}'; try --workers=4") from None
    if workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}; raise it")
    return workers


def _take_overrides(argv: Sequence[str]) -> tuple[list[str], list[Override]]:
    """Divides a command line into overrides, with "=" or a blank, and everything else."""
    rest: list[str] = []
    overrides: list[Override] = []
    words = iter(argv)
    for word in words:
        match = _OVERRIDE.fullmatch(word)
        if match is None:
            rest.append(word)
            continue
        path, text = match[1], match[2]
        if text is None:
            text = next(words, None)
        if not path or text is None or text.startswith("--"):
            raise ConfigError(
                f"an override needs a key and a value, got '{word}'; write {word}=VALUE"
            )
        overrides.append(Override(path, text))
    return rest, overrides
