"""What a configured schedule is, by algorithm and by key, and what is refused or warned of."""

import pytest

from layup_jax.config import validated
from layup_jax.errors import ConfigError
from layup_jax.pipeline.ratio import Ratio
from layup_jax.schedule import configured_schedule, too_many_threads, unused_threads
from layup_jax.strategies import STRATEGIES


def _schedule(strategy="layup", **changes):
    return configured_schedule(validated({"strategy": {"name": strategy}} | changes))


def test_auto_is_what_the_algorithm_is_made_for():
    kinds = {name: _schedule(name).name for name in STRATEGIES}
    own = {"pd_asgd": "decoupled", "hogwild": "shared", "lap_sgd": "shared", "lpp_sgd": "shared"}
    assert kinds == dict.fromkeys(STRATEGIES, "interleaved") | own


@pytest.mark.parametrize("pipeline", ["interleaved", "decoupled", "shared"])
@pytest.mark.parametrize("strategy", ["layup", "ddp", "lap_sgd", "pd_asgd"])
def test_any_strategy_runs_on_any_schedule(pipeline, strategy):
    assert _schedule(strategy, pipeline=pipeline).name == pipeline


def test_threads_are_as_configured():
    threads = {"ratio": "2:3", "weights": "live", "forward_devices": (1,), "backward_devices": (0,)}
    schedule = _schedule("pd_asgd", threads=threads)
    assert schedule.ratio == Ratio(2, 3, 3)
    assert schedule.weights == "live"
    assert (schedule.forward_devices, schedule.backward_devices) == ((1,), (0,))
    assert _schedule("pd_asgd").ratio == Ratio(1, 2, 2)
    assert _schedule("pd_asgd", threads={"ratio": "1:3", "queue": 5}).ratio == Ratio(1, 3, 5)
    auto = _schedule("pd_asgd", threads={"ratio": "auto", "queue": 4})
    assert (auto.ratio, auto.queue) == (None, 4)


def test_shared_memory_methods_differ_in_momentum_and_parts():
    threads = {"shared": 3, "partial_from": 7}
    made = {
        name: _schedule(name, threads=threads).shared for name in ("hogwild", "lap_sgd", "lpp_sgd")
    }
    assert {name: each.own_momentum for name, each in made.items()} == {
        "hogwild": False,
        "lap_sgd": True,
        "lpp_sgd": True,
    }
    assert {name: each.partial_from for name, each in made.items()} == {
        "hogwild": None,
        "lap_sgd": None,
        "lpp_sgd": 7,
    }
    assert all(each.threads == 3 for each in made.values())


@pytest.mark.parametrize(
    "ratio", ["0:1", "1:0", "0", "2", "1:2:3", "a:b", "-1:2", "", "1:", "1.5:2"]
)
def test_a_ratio_that_is_none_is_one_sentence(ratio):
    with pytest.raises(
        ConfigError, match=r"ratio must be auto or numbers of .*, got '.*'; change it$"
    ):
        validated({"threads": {"ratio": ratio}})


@pytest.mark.parametrize(
    ("threads", "sentence"),
    [
        ({"queue": 0}, "config.threads.queue must be at least 1, got 0"),
        ({"shared": 0}, "config.threads.shared must be at least 1, got 0"),
        ({"partial_from": -1}, "config.threads.partial_from must be at least 0, got -1"),
        ({"weights": "lived"}, "unknown config.threads.weights 'lived'; did you mean 'live'?"),
        ({"forward": 2}, "unknown key config.threads.forward"),
    ],
)
def test_values_out_of_range_are_one_sentence(threads, sentence):
    with pytest.raises(ConfigError) as caught:
        validated({"threads": threads})
    assert sentence in str(caught.value)


def test_an_unknown_pipeline_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"unknown config.pipeline 'decoupeld'; did you mean 'decoupled'"
    ):
        validated({"pipeline": "decoupeld"})


def test_more_threads_than_cores_can_use_are_warned_of():
    many = _schedule("pd_asgd", threads={"ratio": "3:9"})
    assert too_many_threads(many, 8) is None
    warning = too_many_threads(many, 2)
    assert warning.startswith("12 threads on 2 cores mostly wait for each other")
    assert warning.endswith("use --config.threads.ratio=auto")
    shared = _schedule("hogwild", threads={"shared": 5})
    assert "5 threads on 1 core mostly" in too_many_threads(shared, 1)
    assert too_many_threads(_schedule("layup"), 1) is None
    assert too_many_threads(_schedule("pd_asgd", threads={"ratio": "auto"}), 1) is None


def test_options_of_threads_that_a_schedule_does_not_look_at_are_warned_of():
    changed = {"ratio": "1:3", "shared": 3, "partial_from": 7}

    def unused(strategy, **changes):
        config = validated({"strategy": {"name": strategy}, "threads": changed} | changes)
        sentences = unused_threads(config)
        assert all(each.endswith("; it changes nothing") for each in sentences)
        return [each.split("config.threads.")[1].split(",")[0] for each in sentences]

    assert unused("layup") == ["ratio", "shared", "partial_from"]
    assert unused("layup", pipeline="decoupled") == ["shared", "partial_from"]
    assert unused("lap_sgd") == ["ratio", "partial_from"]
    assert unused("lpp_sgd") == ["ratio"]
    assert unused("layup", threads={}) == []


def test_parts_need_segments_only_where_threads_take_parts():
    threads = {"shared": 3}
    with pytest.raises(ConfigError, match="got 3 threads and 2 segments"):
        _schedule("lpp_sgd", threads=threads).check_segments(2)
    _schedule("lpp_sgd", threads=threads, pipeline="interleaved").check_segments(2)
