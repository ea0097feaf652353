import io
import threading

import pytest
from rich.console import Console

from layup_jax.config import StopConfig
from layup_jax.metrics import Progress, open_console, print_summary
from tests.metrics.synthetic import evaluation_record, step_record, summary


class Clock:
    """Seconds that pass when told."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def output():
    return io.StringIO()


def progress_on(output, clock, stop=None, terminal=False):
    console = Console(file=output, force_terminal=terminal, width=40, _environ={"TERM": "xterm"})
    return Progress(stop or StopConfig(steps=300), console=console, now=clock)


def test_plain_lines_where_there_is_no_terminal(output):
    clock = Clock()
    with progress_on(output, clock) as progress:
        for step in range(1, 101):
            clock.seconds = 0.1 * step
            progress.write(step_record(step=step, train_seconds=clock.seconds))
        progress.write(evaluation_record(step=100, train_seconds=10.0, mean_test_accuracy=0.953))
        assert "\x1b" not in output.getvalue()
    lines = output.getvalue().splitlines()
    assert 5 <= len(lines) <= 7
    assert lines[0] == "step 1/300  0.1 s  loss 2.3000  320 samples/s per worker"
    expected = "step 100/300  10.0 s  loss 2.3000  accuracy 0.953  320 samples/s per worker"
    assert lines[-1] == expected


def test_lines_grow_rare_in_a_long_run(output):
    clock = Clock()
    with progress_on(output, clock, StopConfig(steps=None, seconds=7200)) as progress:
        for second in range(1, 7201):
            clock.seconds = float(second)
            progress.write(step_record(step=second, train_seconds=clock.seconds))
    assert 100 < len(output.getvalue().splitlines()) < 300
    assert output.getvalue().startswith("step 1  1.0 s")


def test_the_last_step_is_shown_once(output):
    progress = progress_on(output, Clock())
    progress.write(step_record(step=10))
    progress.write(step_record(step=300))
    progress.close()
    progress.close()
    progress.write(step_record(step=301))
    assert [line.split()[1] for line in output.getvalue().splitlines()] == ["10/300", "300/300"]


def test_a_bar_in_a_terminal_without_a_thread(output):
    clock, threads = Clock(), threading.active_count()
    with progress_on(output, clock, terminal=True) as progress:
        lengths = []
        for step in range(1, 101):
            clock.seconds = 0.01 * step
            progress.write(step_record(step=step))
            lengths.append(len(output.getvalue()))
        assert threading.active_count() == threads
        assert len(set(lengths)) <= 5  # four a second
    assert "\x1b" in output.getvalue()


@pytest.mark.parametrize("told", [None, True])
def test_under_mpirun_a_terminal_is_not_believed_unless_told(monkeypatch, told):
    monkeypatch.setenv("PMIX_RANK", "0")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert open_console(terminal=told).is_terminal is bool(told)


def test_nothing_to_show_prints_nothing(output):
    with progress_on(output, Clock()):
        pass
    assert output.getvalue() == ""


def test_the_summary_is_a_table_that_names_the_figure(output, tmp_path):
    figure = tmp_path / "a long [name]" / "figure.png"
    print_summary(summary(), figure, console=Console(file=output, width=80))
    text = output.getvalue()
    assert "layup, 4 workers: finished" in text
    assert "0.9790 to 0.9810" in text
    assert "1.3 s" in text
    assert text.endswith(f"figure: {figure}\n")


def test_the_summary_of_a_failed_run_says_why(output):
    failed = summary(
        status="failed",
        failure="worker 2: loss must be finite, got nan; lower the [learning rate]",
        test_accuracy=None,
        test_accuracy_per_worker=(None,),
        time_to_target_seconds=None,
    )
    print_summary(failed, None, console=Console(file=output, width=120))
    assert "lower the [learning rate]" in output.getvalue()
    assert "not reached" in output.getvalue()
    assert "figure" not in output.getvalue()
