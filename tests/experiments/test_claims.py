"""The page of claims: every row from results, "not measured" without."""

import json

from experiments.claims import CLAIMS, rows


def _write(folder, experiment, results, environment):
    path = folder / experiment / "results"
    path.mkdir(parents=True, exist_ok=True)
    (path / "results.json").write_text(json.dumps({**results, "environment": environment}))


def test_without_results_nothing_is_claimed(tmp_path):
    found = rows(tmp_path)
    assert len(found) == len(CLAIMS)
    assert {row[2] for row in found} == {"not measured"}
    assert {row[5] for row in found} == {""}


def test_a_ratio_is_judged_by_what_the_paper_claims(tmp_path, environment):
    results = {"layup_over_ddp": 1.4, "layup_over_best_communication_efficient": 1.1}
    _write(tmp_path, "slow_network", results, environment)
    first, second, *others = rows(tmp_path)
    assert (first[2], first[5]) == ("1.40 times as fast", "yes")
    assert (second[2], second[5]) == ("1.10 times as fast", "in part")
    assert {row[2] for row in others} == {"not measured"}


def test_what_did_not_happen_does_not_agree(tmp_path, environment):
    results = {"layup_over_ddp": 0.9, "layup_over_best_communication_efficient": None}
    _write(tmp_path, "slow_network", results, environment)
    first, second, *_ = rows(tmp_path)
    assert (first[5], second[5]) == ("no", "no")
    assert second[2] == "the target was not reached by both"


def test_delays(tmp_path, environment):
    def case(accuracy, seconds, samples_per_second):
        return {
            "test_accuracy": accuracy,
            "time_to_target_seconds": seconds,
            "samples_per_second": samples_per_second,
        }

    plain = dict.fromkeys(("layup", "pd_asgd", "ddp"), case(0.98, 10.0, 100.0))
    slow = {**plain, "ddp": case(0.98, 60.0, 20.0)}
    results = {
        "slowdowns": {"1": plain, "8": slow},
        "message_seconds": {"0": plain, "0.2": slow},
    }
    _write(tmp_path, "stragglers", results, environment)
    by_text = {row[1]: row for row in rows(tmp_path)}
    late = by_text["robust when communication is delayed"]
    assert late[2] == (
        "messages 0.2 s late: LayUp keeps 1.00 of its samples/s (DDP 0.20), its accuracy changes by "
        "+0.0000"
    )
    slow = next(row for text, row in by_text.items() if "5.95" in text)
    assert (slow[2].split(":")[1].split(";")[0].strip(), slow[5]) == ("6.00 times as fast", "yes")


def test_speed_without_the_accuracy_does_not_agree(tmp_path, environment):
    def case(accuracy, seconds, speed):
        names = ("test_accuracy", "time_to_target_seconds", "samples_per_second")
        return dict(zip(names, (accuracy, seconds, speed), strict=True))

    plain = {"layup": case(0.98, 10.0, 100.0), "ddp": case(0.98, 10.0, 100.0)}
    plain["pd_asgd"] = case(0.90, None, 200.0)
    slow = {**plain, "ddp": case(0.98, 60.0, 20.0)}

    def row(pd_asgd):
        late = {**slow, "pd_asgd": pd_asgd}
        results = {"slowdowns": {"1": plain, "8": late}, "message_seconds": {"0": plain, "1": slow}}
        _write(tmp_path, "stragglers", results, environment)
        return next(row for row in rows(tmp_path) if "5.95" in row[1])

    missed = row(case(0.96, None, 160.0))
    assert "the target was not reached by both; 8.0 times the samples/s" in missed[2]
    assert "0.0200 below DDP's (0.0800 with no worker slow)" in missed[2]
    bad = row(case(0.95, 6.0, 160.0))
    assert "10.00 times as fast; 8.0 times the samples/s" in bad[2]
    assert [missed[5], bad[5], row(case(0.96, 6.0, 160.0))[5]] == ["no", "no", "yes"]
