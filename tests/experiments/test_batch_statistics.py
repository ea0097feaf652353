"""batch_statistics: its pictures from made-up runs; that every case is a configuration."""

from experiments.batch_statistics.__main__ import CASES, Measured
from experiments.batch_statistics.plot import PICTURES
from experiments.report import over_seeds, publish, write_results
from layup_jax.config import validated
from layup_jax.config_file import load_config
from tests.metrics.test_figure import check_picture


def test_every_case_is_a_configuration():
    for case in CASES.values():
        config = load_config(f"configs/digits_resnet.py:{case.method}")
        config.batch_statistics = case.statistics
        assert validated(config).strategy.name == case.method
    ways = {case.statistics for case in CASES.values() if case.method == "layup"}
    assert ways == {"local", "gossip", "reestimate"}


def test_pictures_need_nothing_but_results(environment, tmp_path):
    folder = tmp_path / "batch_statistics"
    (folder / "results").mkdir(parents=True)
    readme = folder / "README.md"
    readme.write_text((PICTURES.folder / "README.md").read_text())
    cases = {name: over_seeds([Measured(0.1, 0.98, 0.97)]) for name in CASES}
    cases["LayUp, local"] = over_seeds([Measured(0.1, 0.98, 0.97), Measured(0.2, 0.99, 0.97)])
    results = {"cases": cases, "workers": 4, "seeds": [0, 1], "environment": environment}
    write_results(folder / "results", results)
    publish(PICTURES._replace(folder=folder), folder / "results")
    check_picture(folder / "results" / "figure.png", least_colours=2)
    text = readme.read_text()
    assert "| LayUp, local | 0.1500 ± 0.0707 | 0.9850 ± 0.0071 | 0.9700 ± 0.0000 |" in text
    assert "| LayUp, gossip | 0.1000 | 0.9800 | 0.9700 |" in text
