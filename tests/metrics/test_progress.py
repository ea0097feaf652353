import io
import re
import threading

import pytest
from rich.console import Console

from layup_jax.config import DelayConfig, StopConfig
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


def progress_on(output, clock, stop=None, terminal=False, workers=1):
    console = Console(file=output, force_terminal=terminal, width=40, _environ={"TERM": "xterm"})
    stop = stop or StopConfig(steps=300)
    return Progress(stop, workers=workers, console=console, now=clock)


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


@pytest.mark.parametrize(
    ("workers", "steps", "position"),
    [
        (1, 120, "step 120  3,840/100,000 samples  0.8 s  loss"),
        (4, 120, "step 120  about 15,360/100,000 samples  0.8 s  loss"),
        (4, 1000, "step 1000  about 100,000/100,000 samples  6.5 s  loss"),  # others are slower
    ],
)
def test_a_run_that_ends_by_samples_says_how_many_of_them(output, workers, steps, position):
    stop = StopConfig(steps=None, samples=100_000)
    with progress_on(output, Clock(), stop, workers=workers) as progress:
        progress.write(step_record(step=steps))
    assert output.getvalue().startswith(position)


def test_samples_belong_to_the_step_beside_them(output):
    with progress_on(output, Clock(), StopConfig(steps=None, samples=640)) as progress:
        progress.write(evaluation_record(step=5))
        progress.write(step_record(step=10))
        progress.write(evaluation_record(step=8, test_accuracy=0.8))
    early, late = output.getvalue().splitlines()
    assert early.startswith("step 5  0.0 s")  # how many there are to a step is not known yet
    assert late.startswith("step 8  256/640 samples")


def test_an_accuracy_of_the_worker_alone_is_called_its_own(output):
    with progress_on(output, Clock(), StopConfig(steps=20)) as progress:
        progress.write(evaluation_record(step=20, test_accuracy=0.9))
        progress.write(evaluation_record(step=20, test_accuracy=0.9, mean_test_accuracy=0.95))
    own, mean = output.getvalue().splitlines()
    assert "  own accuracy 0.900" in own
    assert "  accuracy 0.950" in mean


def test_a_line_says_of_its_own_step_only(output):
    clock = Clock()
    with progress_on(output, clock, StopConfig(steps=20)) as progress:
        progress.write(evaluation_record(step=5, test_accuracy=0.5, mean_test_accuracy=0.5))
        for clock.seconds in (5.0, 10.0):
            progress.write(step_record(step=round(2 * clock.seconds), train_seconds=clock.seconds))
        progress.write(evaluation_record(step=15, test_accuracy=0.8, mean_test_accuracy=0.75))
        progress.write(evaluation_record(step=20, test_accuracy=0.9, mean_test_accuracy=0.875))
    lines = output.getvalue().splitlines()
    assert [re.findall("loss|0\\.[578]\\d+", line) for line in lines] == [
        ["0.500"],
        ["loss"],
        ["loss"],
        ["0.750"],
        ["loss", "0.875"],
    ]


def test_an_evaluation_that_ends_after_later_steps_has_the_loss_of_its_own(output):
    with progress_on(output, Clock(), StopConfig(steps=20)) as progress:
        for step in (5, 10, 15):
            progress.write(step_record(step=step, loss=step / 10))
        progress.write(evaluation_record(step=10, mean_test_accuracy=0.75))
    lines = output.getvalue().splitlines()
    assert lines[1].startswith("step 10/20  0.1 s  loss 1.0000  accuracy 0.750")


def test_steps_are_shown_where_both_may_end_the_run(output):
    with progress_on(output, Clock(), StopConfig(steps=300, samples=640)) as progress:
        progress.write(step_record(step=10))
    assert output.getvalue().startswith("step 10/300  0.1 s")


def test_the_bar_fills_by_samples(output):
    stop = StopConfig(steps=None, samples=640)
    with progress_on(output, Clock(), stop, terminal=True, workers=2) as progress:
        progress.write(step_record(step=10))
    *_, bar = output.getvalue().split("samples")
    assert "━" * 40 in bar


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


def test_the_summary_of_an_emulated_run_says_so(output):
    print_summary(summary(emulated=True), None, console=Console(file=output, width=80))
    assert "layup, 4 workers, emulated accelerator: finished" in output.getvalue()


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        (DelayConfig(ranks=(3,), slowdown=4.0), "worker 3: 4 times slower"),
        (
            DelayConfig(ranks=(0, 2), seconds=0.1, backward_seconds=0.25, pattern="exponential"),
            "workers 0, 2: 0.1 s before a forward pass, 0.25 s before a backward pass (exponential)",
        ),
        (
            DelayConfig(
                ranks="all", message_seconds=0.2, pattern="every", every=3, link_mbit=200.0
            ),
            "all workers: messages 0.2 s late, a link of 200 Mbit/s (every 3)",
        ),
    ],
)
def test_the_summary_says_who_was_slowed_down(output, delay, words):
    print_summary(summary(delays=delay.describe()), None, console=Console(file=output, width=130))
    (row,) = (line for line in output.getvalue().splitlines() if "artificial delays" in line)
    assert row.split(maxsplit=2)[2].rstrip() == words


def test_without_delays_nothing_is_said(output):
    assert DelayConfig().describe() == DelayConfig(ranks="all").describe() == ""
    print_summary(summary(), None, console=Console(file=output, width=80))
    assert "delays" not in output.getvalue()


def test_the_summary_says_how_well_the_hardware_was_used(output):
    split = {"forward": 0.00123, "turn": 0.0, "backward": 0.0456}
    known = summary(step_flops=1e9, peak_flops_per_second=5e10, mfu=0.1234, time_split=split)
    print_summary(known, None, console=Console(file=output, width=80))
    text = output.getvalue()
    assert "12.3% of 200 GFLOP/s" in text
    assert "forward 1.2, backward 46 ms" in text
    unknown = summary(step_flops=1e9)
    print_summary(unknown, None, console=Console(file=output, width=80))
    assert "not known on this hardware" in output.getvalue()


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
