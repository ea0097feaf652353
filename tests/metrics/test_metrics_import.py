import subprocess
import sys


def test_importing_metrics_imports_nothing_heavy():
    script = (
        "import sys, layup_jax.metrics\n"
        "heavy = {'matplotlib', 'rich', 'tensorboardX', 'jax', 'flax', 'mpi4py'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.strip() == ""
