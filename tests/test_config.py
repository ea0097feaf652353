"""Configurations: defaults, files, overrides, and what is said about bad ones."""

import runpy
import sys
from pathlib import Path

import pytest

from layup_jax.config import RunConfig, default_config, to_dict, validated
from layup_jax.config_file import Override, load_config, overridden
from layup_jax.errors import ConfigError

CONFIGS = Path(__file__).parent.parent / "configs"


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
        ("batch_size", "0", "config.batch_size must be at least 1, got 0"),
        ("tensorboard", "perhaps", "config.tensorboard must be bool, got 'perhaps'"),
        ("optimizer.clip_norm", "x", "config.optimizer.clip_norm must be float or None, got 'x'"),
        ("delay.ranks", "a", "config.delay.ranks must be tuple"),
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
        ("strategy.rate", "0", "config.strategy.rate must be positive, got 0.0; raise it"),
        ("stop.steps", "none", "a run needs an end, got none"),
        ("stop.seconds", "-1", "config.stop.seconds must be positive"),
        ("transport.share", "2", "config.transport.share must be in (0, 1], got 2.0"),
        ("name", "a/b", "config.name must be a plain folder name, got 'a/b'"),
    ],
)
def test_a_bad_override_is_one_sentence(path, text, sentence):
    with pytest.raises(ConfigError) as caught:
        run_config((path, text))
    assert sentence in str(caught.value)


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
    assert record.name == file.stem
    docstring = (
        runpy.run_path(str(file))["__doc__"] if file.stem == "digits_layup" else file.read_text()
    )
    assert f"layup train --config=configs/{file.name} --workers=" in docstring


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
        load_config(str(tmp_path / "digits_layap.py"))
    with pytest.raises(ConfigError, match="was not found; give the path of a file"):
        load_config(str(tmp_path / "nothing" / "x.py"))
