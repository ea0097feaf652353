"""Finding the processes that a test has started, and those that they have started in turn."""

from pathlib import Path


def processes_with(mark):
    """{pid: command line} of what runs with `mark` in its command line or environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
            marked = mark.encode() in line or mark.encode() in (folder / "environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or not ours
        if line and marked:  # a zombie has no command line
            found[int(folder.name)] = line.replace(b"\0", b" ").decode()
    return found
