"""ablations: its arithmetic on made-up runs, its variants, and its pictures."""

import pytest

from experiments.ablations.__main__ import CHANGES, compared, summarise
from experiments.ablations.plot import PICTURES, VARIANTS, table
from experiments.emulated import CONFIG
from layup_jax.config import to_dict, validated
from layup_jax.config_file import load_config, overridden
from tests.experiments.emulated_runs import published, runs
from tests.metrics.test_figure import check_picture


@pytest.fixture
def rounds():
    made = {name: runs(95.0, 10.0) for name in VARIANTS}
    return made | {
        "local": runs(100.0, None, accuracy=0.95, sent_bytes=0.0),
        "bfloat16": runs(96.0, 8.0, accuracy=0.985, sent_bytes=50.0),
        "probability_0.1": [*runs(100.0, 20.0)[:2], *runs(100.0, None)[2:]],
    }


def test_runs_are_compared_within_seeds(rounds):
    triple = [rounds[name][1] for name in ("bfloat16", "layup", "local")]
    found = compared(*triple)
    assert found.accuracy_gain == pytest.approx(0.005)
    assert (found.over_local, found.time_gain) == (pytest.approx(0.96), pytest.approx(1.25))
    found = summarise(rounds)
    assert found["layup"]["accuracy_gain"] == 0
    assert found["layup"]["spread"]["time_gain"] == 0
    assert found["bfloat16"]["sent_bytes_per_sample"] == 50


def test_a_target_that_was_not_reached_is_left_out_and_said(rounds):
    found = summarise(rounds)
    assert (found["local"]["reached"], found["local"]["time_gain"]) == (0, None)
    assert found["probability_0.1"]["reached"] == 2
    text = table({"variants": found, "seeds": [0, 1, 2], "target": 0.95})
    assert "30.0 ± 14.1 (2 of 3)" in text
    assert "| never |  | 0 |" in text


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_changes_the_configuration_in_one_place(name):
    config = load_config(f"{CONFIG}:layup")
    pairs = [change.removeprefix("--config.").split("=") for change in CHANGES[name]]
    assert len(pairs) == (name not in ("layup", "local"))
    changed = to_dict(validated(overridden(config, pairs)))
    default = to_dict(validated(config))
    assert sum(changed[key] != default[key] for key in default) == len(pairs)


def test_pictures_need_nothing_but_results(rounds, environment, tmp_path):
    results = {
        "variants": summarise(rounds),
        "workers": 4,
        "samples": 100,
        "link_mbit": 32.0,
        "target": 0.95,
        "seeds": [0, 1, 2],
    }
    text = published(PICTURES, results, environment, tmp_path / "ablations")
    check_picture(tmp_path / "ablations" / "results" / "figure.png", least_colours=3)
    assert (
        "| LayUp by default | 0.9800 ± 0.0000 | +0.0000 ± 0.0000 | 0.9700 ± 0.0000 | 0.95" in text
    )
    assert "time to 0.95 (s)" in text
    assert "| wire dtype: bfloat16 | 0.9850 ± 0.0000 | +0.0050 ± 0.0000 |" in text
