"""Made-up runs of experiments with emulated accelerators."""

from experiments.emulated import Measured


def runs(samples_per_second, seconds, accuracy=0.98, sent_bytes=100.0):
    """Three rounds, the second on a machine half as fast."""
    return [
        Measured(
            samples_per_second / slow,
            None if seconds is None else seconds * slow,
            accuracy,
            sent_bytes,
            accuracy - 0.01,
            0.5,
        )
        for slow in (1, 2, 1)
    ]


def published(pictures, results, environment, folder):
    """The README that the results make of the experiment's own; its picture is in folder/results."""
    from experiments.report import publish, write_results

    (folder / "results").mkdir(parents=True)
    (folder / "README.md").write_text((pictures.folder / "README.md").read_text())
    write_results(folder / "results", {**results, "environment": environment})
    publish(pictures._replace(folder=folder), folder / "results")
    return (folder / "README.md").read_text()
