"""Configurations: defaults, files, overrides, and what is said about bad ones."""

import ast
import dataclasses
import sys
from pathlib import Path

import optax
import pytest

from layup_jax import config_checks
from layup_jax.config import RunConfig, default_config, to_dict, validated
from layup_jax.config_file import Override, load_config, overridden
from layup_jax.data.form import AUGMENTATIONS
from layup_jax.data.normalization import PUBLISHED
from layup_jax.errors import ConfigError
from layup_jax.strategies import STRATEGIES, Setup, advice, make_strategy
from layup_jax.topology import TOPOLOGIES

CONFIGS = Path(__file__).parent.parent / "configs"
DIGITS = str(CONFIGS / "digits.py")
METHODS = (*STRATEGIES, "push_sum", "post_local_sgd")


def run_config(*overrides, base=None):
    return validated(overridden(base or default_config(), [Override(*each) for each in overrides]))


def test_default_config_is_the_default_record():
    assert validated(default_config()) == RunConfig()
    assert validated({}) == RunConfig()


def test_to_dict_and_validated_are_inverses():
    record = run_config(("delay.ranks", "(1, 2)"), ("stop.seconds", "2"), ("model.options.a", "3"))
    assert validated(to_dict(record)) == record


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("seed", "3", 3),
        ("partition", "layer", "layer"),
        ("partition", "4", 4),
        ("optimizer.learning_rate", "1", 1.0),
        ("optimizer.learning_rate", "1e-3", 1e-3),
        ("optimizer.clip_norm", "0.5", 0.5),
        ("optimizer.clip_norm", "None", None),
        ("stop.seconds", "10", 10.0),
        ("tensorboard", "true", True),
        ("tensorboard", "0", False),
        ("data.data_dir", "/data/3", "/data/3"),
        ("data.name", "7", "7"),
        ("name", "run=2", "run=2"),
        ("delay.ranks", "(1, 2)", (1, 2)),
        ("delay.ranks", "[1]", (1,)),
        ("delay.ranks", "1", (1,)),
        ("delay.ranks", "all", "all"),
        ("model.options", "{'channels': (8,)}", {"channels": (8,)}),
        ("model.options.channels", "(8, 8)", {"channels": (8, 8)}),
        ("model.options.kind", "wide", {"kind": "wide"}),
    ],
)
def test_an_override_is_read_as_the_type_of_its_key(path, text, expected):
    value = run_config((path, text))
    for name in path.removesuffix(".channels").removesuffix(".kind").split("."):
        value = getattr(value, name)
    assert value == expected
    assert type(value) is type(expected)


def test_the_last_override_wins():
    assert run_config(("seed", "1"), ("seed", "2")).seed == 2


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("strategy.mixin", "x", "unknown key config.strategy.mixin; did you mean 'mixing'?"),
        ("sed", "x", "unknown key config.sed; did you mean 'seed'?"),
        ("new.key", "x", "unknown key config.new"),
        ("batch_size", "abc", "config.batch_size must be int, got 'abc' of type str"),
        ("batch_size", "1.5", "config.batch_size must be int, got '1.5'"),
        ("seed", "9" * 20, "config.seed must be at most 2**63 - 1, got 99999999999999999999"),
        ("batch_size", "0", "config.batch_size must be at least 1, got 0"),
        ("prefetch", "-1", "config.prefetch must be at least 0, got -1"),
        ("data.mixup", "-0.2", "config.data.mixup must be at least 0, got -0.2"),
        ("tensorboard", "perhaps", "config.tensorboard must be bool, got 'perhaps'"),
        ("optimizer.clip_norm", "x", "config.optimizer.clip_norm must be float or None, got 'x'"),
        ("delay.ranks", "1.5", "config.delay.ranks must be tuple or str, got 1.5"),
        ("delay.ranks", "a", "config.delay.ranks must be ranks, 0 and up, or 'all', got 'a'"),
        ("delay.ranks", "", "config.delay.ranks must be ranks, 0 and up, or 'all', got ''"),
        ("batch_size.x", "1", "config.batch_size holds a value, not a group of keys"),
        ("stop", "3", "config.stop must be a group of keys, got 3"),
        (
            "strategy.mixing",
            "pushsum",
            "unknown config.strategy.mixing 'pushsum'; did you mean 'push_sum'?",
        ),
        (
            "strategy.topology",
            "rings",
            "unknown config.strategy.topology 'rings'; did you mean 'ring'?",
        ),
        ("strategy.rate", "0", "config.strategy.rate must be positive, got 0.0; change it"),
        ("strategy.rate", "nan", "config.strategy.rate must be finite, got nan"),
        ("strategy.period", "0", "config.strategy.period must be at least 1, got 0; change it"),
        ("strategy.local_from", "-1", "config.strategy.local_from must be at least 0, got -1"),
        ("strategy.outer_learning_rate", "0", "outer_learning_rate must be positive, got 0.0"),
        ("strategy.outer_momentum", "-1", "outer_momentum must be in [0, 1), got -1.0"),
        ("strategy.outer_momentum", "1", "outer_momentum must be in [0, 1), got 1.0; change it"),
        ("optimizer.momentum", "5", "config.optimizer.momentum must be in [0, 1), got 5.0"),
        (
            "optimizer.learning_rate",
            "inf",
            "config.optimizer.learning_rate must be finite, got inf",
        ),
        ("optimizer.clip_norm", "-1", "config.optimizer.clip_norm must be positive, got -1.0"),
        ("optimizer.decay_steps", "-5", "config.optimizer.decay_steps must be at least 1, got -5"),
        ("delay.ranks", "(-1,)", "config.delay.ranks must be ranks, 0 and up, or 'all', got (-1,)"),
        ("delay.seconds", "0.1", "config.delay.ranks must name who is delayed by config.delay.sec"),
        ("delay.link_mbit", "1", "who is delayed by config.delay.link_mbit, got nobody; set it to"),
        ("delay.link_mbit", "0", "config.delay.link_mbit must be positive, got 0.0; change it"),
        ("delay.slowdown", "0.5", "config.delay.slowdown must be at least 1, got 0.5; change it"),
        ("delay.every", "0", "config.delay.every must be at least 1, got 0; change it"),
        (
            "delay.pattern",
            "evry",
            "unknown config.delay.pattern 'evry'; did you mean 'every'?",
        ),
        ("delay.message_seconds", "-1", "config.delay.message_seconds must be at least 0, got -1."),
        ("emulation.forward_seconds", "-1", "config.emulation.forward_seconds must be at least 0"),
        ("emulation.backward_seconds", "nan", "emulation.backward_seconds must be finite, got nan"),
        ("strategy.outer_clip", "-1", "config.strategy.outer_clip must be positive, got -1.0"),
        ("strategy.fragments", "0", "config.strategy.fragments must be at least 1, got 0"),
        ("strategy.delay_steps", "-1", "config.strategy.delay_steps must be at least 0, got -1"),
        ("strategy.local_share", "1.5", "config.strategy.local_share must be in [0, 1], got 1.5"),
        ("strategy.local_share", "-0.1", "local_share must be in [0, 1], got -0.1; change it"),
        ("strategy.name", "slomo", "unknown config.strategy.name 'slomo'; did you mean 'slowmo'?"),
        ("strategy.name", "x", "unknown config.strategy.name 'x'; use one of: a2cid2, ad_psgd"),
        ("stop.samples", "0", "config.stop.samples must be at least 1, got 0; change it"),
        ("stop.steps", "none", "a run needs an end, got none"),
        ("stop.seconds", "-1", "config.stop.seconds must be positive"),
        ("stop.epochs", "0", "config.stop.epochs must be positive, got 0.0; change it"),
        (
            "optimizer.schedule",
            "step",
            "decay_at belongs to the schedule step, got schedule 'step'",
        ),
        ("optimizer.decay_at", "0.5", "got schedule 'constant' with decay_at (0.5,); set or clear"),
        ("optimizer.decay_at", "(0.5, 1.5)", "fractions of the length, in (0, 1), got (0.5, 1.5)"),
        ("optimizer.decay_at", "(True,)", "config.optimizer.decay_at must be tuple, got (True,)"),
        ("optimizer.decay_factor", "0", "optimizer.decay_factor must be in (0, 1], got 0.0"),
        ("optimizer.reference_batch", "0", "reference_batch must be at least 1, got 0; change it"),
        ("transport.share", "2", "config.transport.share must be in (0, 1], got 2.0"),
        ("data.context", "0", "config.data.context must be at least 1, got 0; change it"),
        ("data.crop_padding", "0", "config.data.crop_padding must be at least 1, got 0"),
        ("data.test_samples", "0", "config.data.test_samples must be at least 1, got 0"),
        ("data.image_size", "0", "config.data.image_size must be at least 1, got 0; change it"),
        ("data.memory_limit_mb", "-1", "config.data.memory_limit_mb must be at least 0, got -1"),
        ("data.augment", "flip", "unknown config.data.augment 'flip'; did you mean 'crop_flip'?"),
        ("data.normalize", "cifar", "unknown config.data.normalize 'cifar'; did you mean 'cifar"),
        ("name", "a/b", "config.name must be a plain folder name, got 'a/b'"),
    ],
)
def test_a_bad_override_is_one_sentence(path, text, sentence):
    with pytest.raises(ConfigError) as caught:
        run_config((path, text))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("share", ["0", "1"])
def test_the_ends_of_a_share_are_allowed(share):
    assert run_config(("strategy.local_share", share)).strategy.local_share == float(share)


def test_the_names_of_the_registries_are_what_a_configuration_may_say():
    assert sorted(config_checks._CHOICES["strategy.name"]) == sorted(STRATEGIES)
    assert sorted(config_checks._TOPOLOGIES) == sorted(TOPOLOGIES)
    assert config_checks._CHOICES["data.augment"] == AUGMENTATIONS
    assert config_checks._CHOICES["data.normalize"] == ("none", *PUBLISHED)
    for name in STRATEGIES:
        assert run_config(("strategy.name", name)).strategy.name == name
    for name in TOPOLOGIES:
        assert run_config(("strategy.topology", name)).strategy.topology == name


def test_a_config_file_may_set_every_kind_of_key():
    config = default_config()
    config.partition = 4
    config.optimizer.clip_norm = 1
    config.delay.ranks = (1,)
    config.model.options.channels = (8, 8)
    record = validated(config)
    assert record.partition == 4
    assert record.optimizer.clip_norm == 1.0
    assert record.delay.ranks == (1,)
    assert record.model.options == {"channels": (8, 8)}


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.py")), ids=lambda file: file.stem)
def test_every_configuration_of_the_repository_is_valid(file):
    record = validated(load_config(str(file)))
    assert record.name.startswith(file.stem)
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert f"layup train --config=configs/{file.name}" in docstring
    assert all(
        word in docstring for word in ("Source: ", "Hardware: ", "Time: ", "Expected result: ")
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_digits_configuration_has_every_algorithm(method):
    record = validated(load_config(f"{DIGITS}:{method}"))
    assert record.name == f"digits_{method}"
    made = {"push_sum": "layup", "post_local_sgd": "local_sgd"}
    assert record.strategy.name == made.get(method, method)
    layup = validated(load_config(f"{DIGITS}:layup"))
    assert dataclasses.replace(record, name=layup.name, strategy=layup.strategy) == layup
    setup = Setup(record.strategy, optax.sgd(0.1), 4)
    assert make_strategy(setup).name == record.strategy.name
    assert advice(setup) == []


def test_layup_is_one_configuration_in_both_files():
    alone = load_config(str(CONFIGS / "digits_layup.py"))
    assert validated(load_config(DIGITS)) == validated(alone)


ONE_ARGUMENT = "def get_config(name):\n    return {'name': name}\n"


def test_the_text_after_the_last_colon_is_given_to_get_config(tmp_path):
    file = tmp_path / "a:b.py"
    file.write_text(ONE_ARGUMENT)
    assert load_config(f"{file}:x") == {"name": "x"}
    file.write_text("def get_config(name='y'):\n    return {'name': name}\n")
    assert load_config(str(file)) == {"name": "y"}
    assert load_config(f"{file}:x") == {"name": "x"}


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("def get_config():\n    return {}\n", ":x", "takes no name, got 'x'; use --config="),
        ("def get_config():\n    return {}\n", ":", "takes no name, got ''; use --config="),
        (ONE_ARGUMENT, "", "some.py' needs a name, got none; use --config="),
        (
            f"NAMES = ('two', 'one')\n{ONE_ARGUMENT}",
            "",
            "some.py:NAME, NAME being one of: one, two",
        ),
        (
            f"NAMES = ('two', 'one')\n{ONE_ARGUMENT}",
            ":tow",
            "some.py'; did you mean 'two'?",
        ),
        (f"NAMES = {{'two': 2, 'one': 1}}\n{ONE_ARGUMENT}", ":x", "use one of: one, two"),
        ("def get_config(name):\n    return name + 1\n", ":x", "line 2 must run, got TypeError"),
    ],
)
def test_a_name_that_a_file_does_not_take_is_one_sentence(tmp_path, text, name, sentence):
    file = tmp_path / "some.py"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(f"{file}{name}")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_may_import_its_neighbours_and_leaves_the_path_alone(tmp_path):
    (tmp_path / "neighbour_of_a_test.py").write_text("def get_config():\n    return {'seed': 5}\n")
    (tmp_path / "mine.py").write_text("from neighbour_of_a_test import get_config\n")
    before = list(sys.path)
    assert validated(load_config(str(tmp_path / "mine.py"))).seed == 5
    assert sys.path == before
    del sys.modules["neighbour_of_a_test"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed = 1\n", "must define get_config(), found none"),
        ("get_config = 1\n", "must define get_config(), found none"),
        ("def get_config():\n    pass\n", "must return a configuration, got None"),
        ("def get_config(:\n", "bad.py, line 1 must run, got SyntaxError"),
        ("\nimport no_such_module\n", "bad.py, line 2 must run, got ModuleNotFoundError"),
        ("def get_config():\n    return 1 / 0\n", "bad.py, line 2 must run, got ZeroDivisionError"),
        (
            "from layup_jax.config import default_config\n"
            "def get_config():\n    c = default_config()\n    c.seed = 'x'\n    return c\n",
            "bad.py, line 4 must run, got TypeError",
        ),
        (
            "from layup_jax.config import default_config\n"
            "def get_config():\n    c = default_config()\n    c.sed = 1\n    return c\n",
            "unknown key config.sed; did you mean 'seed'?",
        ),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text, sentence):
    file = tmp_path / "bad.py"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        validated(load_config(str(file)))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "digits_layup.py").touch()
    with pytest.raises(ConfigError, match=r"was not found; did you mean '.*digits_layup.py'\?"):
        load_config(str(tmp_path / "digits_layap.py:x"))
    with pytest.raises(ConfigError, match="was not found; give the path of a file"):
        load_config(str(tmp_path / "nothing" / "x.py"))


def test_a_key_with_dots_is_to_be_nested():
    with pytest.raises(ConfigError, match=r"stop\.steps; nest it: \{'stop': \{'steps': \.\.\.\}\}"):
        validated({"stop.steps": 3})
