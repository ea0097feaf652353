"""Starting processes with four devices; finding those that a test has started, and what they have."""

import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).parent


def printed_with_four_devices(*arguments):
    """What Python prints, given these arguments, where JAX has four devices; it must end well."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
            "PYTHONPATH": f"{_TESTS.parent}:{_TESTS}:{_TESTS / 'pipeline'}",
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "PATH": "",
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
