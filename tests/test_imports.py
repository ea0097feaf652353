"""Who may import what: levels, packages with one home, threads, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "layup_jax"

# A module may import from its own level and from those above it in this list, as in ARCHITECTURE.md.
LEVELS = (
    {
        "errors",
        "types",
        "tree",
        "clock",
        "draws",
        "pauses",
        "config",
        "config_checks",
        "config_values",
        "host",
        "world",
        "interrupts",
        "patience",
        "peaks",
        "hardware",
        "__init__",
    },
    {"models", "losses", "optimizers", "topology", "mixing", "staleness"},
    {"engine", "strategies", "store", "transport", "data", "metrics"},
    {"pipeline"},
    {
        "task",
        "artificial",
        "schedule",
        "epochs",
        "steps",
        "evaluations",
        "attempts",
        "accounts",
        "costs",
        "reestimation",
        "result",
        "worker",
        "summary",
        "run",
        "training",
        "replay",
    },
    {
        "virtual_host",
        "virtual_cluster",
        "hosts",
        "launch",
        "doctor",
        "listing",
        "report",
        "config_file",
        "arguments",
        "cli",
        "__main__",
        "testing",
    },
)
# Pure numerics: these know no other package than the four of `NUMERICS`.
PURE = (
    LEVELS[1]
    | {"engine", "strategies", "store"}
    | (LEVELS[0] - {"config", "config_checks", "config_values"})
)
NUMERICS = {"jax", "numpy", "optax", "flax"}
HOMES = {
    "mpi4py": {"transport/library.py"},
    "mpi4jax": {"transport/mpi4jax_plane.py", "doctor.py"},
    "tensorflow_datasets": {"data/source.py", "data/digits.py", "data/stdlib.py"},
    "grain": {"data/stream.py"},
    "sklearn": {"data/digits.py"},
    "tokenizers": {"data/tokenizer.py"},
    "PIL": {"data/resize.py"},
    "matplotlib": {"metrics/figure.py"},
    "plotly": {"report/figures.py"},
    "networkx": {"topology/file.py"},
    "rich": {
        "metrics/console.py",
        "metrics/progress.py",
        "metrics/summary.py",
        "doctor.py",
        "listing.py",
    },
    "tensorboardX": {"metrics/tensorboard.py"},
    "ml_collections": {"config_values.py"},
    "tensorflow": set(),
    "absl": set(),
    "hypothesis": set(),
    "pytest": set(),
}
THREADS = {"pipeline/crew.py", "transport/communicator.py", "transport/local.py", "patience.py"}


class Import(NamedTuple):
    """One imported module, and the file and line that imports it."""

    module: str
    path: Path
    line: int

    def __str__(self):
        return f"{self.path.relative_to(PACKAGE)}:{self.line} imports {self.module}"

    @property
    def importer(self):
        return _part(self.path.relative_to(PACKAGE).with_suffix("").parts)


def _part(names):
    """The folder or top file that a module belongs to; "__init__" for the package itself."""
    return names[0] if names else "__init__"


def _files():
    return sorted(PACKAGE.rglob("*.py"))


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, path, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            if node.module == "layup_jax":
                for alias in node.names:
                    yield Import(f"layup_jax.{alias.name}", path, node.lineno)
            else:
                yield Import(node.module, path, node.lineno)


def _all_imports():
    return [each for path in _files() for each in _imports(path)]


def _level(part):
    found = [index for index, parts in enumerate(LEVELS) if part in parts]
    assert len(found) == 1, f"layup_jax/{part} must have one level in test_imports.py, has {found}"
    return found[0]


def test_every_module_has_a_level():
    for path in _files():
        _level(_part(path.relative_to(PACKAGE).with_suffix("").parts))


def test_every_folder_is_a_package():
    for path in _files():
        assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"


def test_imports_go_down_the_list_only():
    wrong = [
        str(each)
        for each in _all_imports()
        if each.module.split(".")[0] == "layup_jax"
        and each.importer != "__init__"  # names for type checkers what is of any level
        and _level(each.importer) < _level(_part(each.module.split(".")[1:]))
    ]
    assert wrong == []


@pytest.mark.parametrize("package", HOMES)
def test_a_package_is_imported_by_its_home_only(package):
    wrong = [
        str(each)
        for each in _all_imports()
        if each.module.split(".")[0] == package
        and each.path.relative_to(PACKAGE).as_posix() not in HOMES[package]
    ]
    assert wrong == []


def test_pure_modules_know_numerics_only():
    known = NUMERICS | set(sys.stdlib_module_names) | {"layup_jax"}
    wrong = [
        str(each)
        for each in _all_imports()
        if each.importer in PURE
        and (package := each.module.split(".")[0]) not in known
        and each.path.relative_to(PACKAGE).as_posix() not in HOMES.get(package, ())
    ]
    assert wrong == []


def test_threads_are_started_where_the_architecture_says_only():
    started = {
        path.relative_to(PACKAGE).as_posix()
        for path in _files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
        and (getattr(node, "attr", None) or getattr(node, "id", None))
        in {"Thread", "ThreadPoolExecutor", "start_new_thread", "Timer"}
    }
    assert started <= THREADS, f"threads outside of {THREADS}: {started - THREADS}"


HEAVY = (
    "mpi4py",
    "mpi4jax",
    "tensorflow",
    "tensorflow_datasets",
    "matplotlib",
    "plotly",
    "grain",
    "sklearn",
    "tokenizers",
    "PIL",
    "tensorboardX",
    "ml_collections",
)


@pytest.mark.parametrize(
    ("statement", "also"),
    [
        ("import layup_jax", ("jax", "flax", "optax", "numpy")),
        ("import layup_jax; layup_jax.LayeredModel, layup_jax.Task", ()),
        ("import layup_jax; [getattr(layup_jax, name) for name in dir(layup_jax)]", ()),
    ],
)
def test_importing_the_package_pulls_in_nothing_heavy(statement, also):
    program = f"{statement}; import sys; print(*sorted({{*{HEAVY + also}}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "")


def test_the_package_names_what_it_offers():
    import layup_jax

    assert {"LayeredModel", "Task", "run_local", "cross_entropy"} <= set(dir(layup_jax))
    assert dir(layup_jax) == sorted(layup_jax._HOMES)
    with pytest.raises(AttributeError, match="has no attribute 'LayredModel'"):
        layup_jax.LayredModel  # noqa: B018
