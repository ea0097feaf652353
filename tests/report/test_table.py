import csv
import statistics

from layup_jax.report import compare, make_table, read_runs, to_csv, to_markdown
from tests.report.made_runs import made_run

NASTY = "<b>\"a\" & 'b', |x|_"


def table_of(*paths):
    return make_table(compare(read_runs(paths)))


def cell(table, row, key):
    return table.rows[row][[column.key for column in table.columns].index(key)]


def test_a_group_has_mean_and_spread_and_a_run_its_own_number(tmp_path):
    accuracies = (0.9, 0.95, 0.97)
    seeds = [
        made_run(tmp_path, f"s{seed}", config={"seed": seed}, test_accuracy=accuracy)
        for seed, accuracy in enumerate(accuracies)
    ]
    alone = made_run(tmp_path, "alone", config={"partition": 3}, test_accuracy=0.5)
    table = table_of(*seeds, alone)
    assert cell(table, 0, "test_accuracy").value == statistics.fmean(accuracies)
    assert cell(table, 0, "test_accuracy").spread == statistics.stdev(accuracies)
    assert cell(table, 0, "test_accuracy").text == "0.9400 ± 0.0361"
    assert cell(table, 0, "seeds").text == "0, 1, 2"
    assert cell(table, 1, "test_accuracy") == ("0.5000", 0.5, None)
    assert cell(table, 1, "config.partition").text == "3"


def test_what_was_not_measured_is_no_number(tmp_path):
    path = made_run(
        tmp_path,
        "run",
        test_accuracy=None,
        test_accuracy_per_worker=(None, 0.8, 0.7, None),
        time_to_target_seconds=None,
        samples_total=0,
    )
    table = table_of(path)
    for key in ("test_accuracy", "time_to_target_seconds", "sent_bytes_per_sample"):
        assert cell(table, 0, key) == ("–", None, None)
    assert cell(table, 0, "worst_worker_test_accuracy").value == 0.7
    assert cell(table, 0, "peak_memory_megabytes").text == "412"


def test_a_mean_says_so_if_it_leaves_out_runs(tmp_path):
    times = (4.0, None, 6.0)
    paths = [
        made_run(tmp_path, f"s{seed}", config={"seed": seed}, time_to_target_seconds=time)
        for seed, time in enumerate(times)
    ]
    assert cell(table_of(*paths), 0, "time_to_target_seconds").text == "5.0 ± 1.4 (2 of 3 runs)"
    alone = cell(table_of(*paths[:2]), 0, "time_to_target_seconds")
    assert alone == ("4.0 (1 of 2 runs)", 4.0, None)


def test_a_loss_without_bounds_has_no_spread(tmp_path):
    losses = (1.0, float("inf"))
    paths = [
        made_run(tmp_path, f"s{seed}", config={"seed": seed}, test_loss=loss)
        for seed, loss in enumerate(losses)
    ]
    assert cell(table_of(*paths), 0, "test_loss").text == "inf ± nan"


def test_csv_gives_back_exact_numbers_and_names(tmp_path):
    seeds = [
        made_run(tmp_path, f"{NASTY}{seed}", config={"seed": seed}, test_loss=seed / 3)
        for seed in (1, 2)
    ]
    failure = 'It said "no",\nthen nothing.'
    failed = made_run(tmp_path, "failed", status="failed", failure=failure, test_loss=None)
    table = table_of(*seeds, failed)
    group, alone = csv.DictReader(to_csv(table).splitlines(keepends=True))
    assert group["run"] == "<b>\"a\" & 'b', |x| (2 runs)"
    assert float(group["test_loss"]) == statistics.fmean((1 / 3, 2 / 3))
    assert float(group["test_loss_spread"]) == statistics.stdev((1 / 3, 2 / 3))
    assert (alone["test_loss"], alone["test_loss_spread"]) == ("", "")
    assert alone["status"] == f"failed: {failure}"
    assert float(alone["sent_bytes_per_sample"]) == 81_000_000 / 36_160


def test_markdown_keeps_its_columns_whatever_the_names(tmp_path):
    table = table_of(made_run(tmp_path, NASTY, status="failed", failure="a | b\n<script>"))
    header, align, row = to_markdown(table).splitlines()
    counts = {line.replace(r"\|", "").count("|") for line in (header, align, row)}
    assert counts == {len(table.columns) + 1}
    assert r"\<b\>" in row
    assert r"a \| b \<script\>" in row


def test_without_a_target_there_is_no_column_for_its_time(tmp_path):
    path = made_run(tmp_path, "run", config={"evaluation": {"target": None}})
    keys = [column.key for column in table_of(path).columns]
    assert "test_accuracy" in keys
    assert "time_to_target_seconds" not in keys
