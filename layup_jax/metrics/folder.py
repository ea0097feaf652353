"""The folder of one run: where each file is, and who may replace it.

folder = RunFolder.create("runs", "demo")       # rank 0; the others, afterwards: RunFolder.open
folder.write_config(config)                     # first: it marks the folder as ours
folder.metrics(rank=2)                          # runs/demo/rank2/metrics.jsonl

runs/demo/  config.json  environment.json  summary.json  figure.png
            rank<k>/metrics.jsonl  rank<k>/recording.npz  tensorboard/rank<k>/events.*
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from layup_jax.config import RunConfig, to_dict, validated
from layup_jax.errors import RunFolderError, reason
from layup_jax.metrics.environment import Environment
from layup_jax.metrics.records import RunSummary, decode_summary, finite

_MARKS = {"name", "partition", "strategy", "transport"}
# What a run writes, relative to its folder; a temporary file is what a kill may leave.
_FILES = re.compile(
    r"(config|environment|summary)\.json(\.temporary)?|figure\.png|rank\d+/(metrics\.jsonl|recording\.npz)"
    r"|tensorboard/rank\d+/events\.out\.tfevents\.\d+"
)
_FOLDERS = re.compile(r"(tensorboard/)?rank\d+|tensorboard")
_RANK = re.compile(r"rank(\d+)")


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths of a run, and its JSON files, which are replaced as a whole or not at all.

    Attributes:
      path: of the folder, which exists.
    """

    path: Path

    @classmethod
    def create(cls, output: str | Path, name: str, *, overwrite: bool = False) -> Self:
        """Makes the folder; rank 0 alone does so.

        Args:
          output: folder of run folders; made if missing.
          name: of this run.
          overwrite: deletes what an earlier run of this name wrote, and nothing else.

        Returns:
          A folder without files of a run.

        Raises:
          RunFolderError: it has files already, or cannot be made.
        """
        folder = cls(Path(output) / name)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            if any(folder.path.iterdir()):
                folder._check_replaceable(overwrite)
                folder._delete_files()
        except OSError as error:
            raise RunFolderError(
                f"run folder '{folder.path}' must be a folder that can be written, got "
                f"'{reason(error)}'; choose another place with --config.output=..."
            ) from error
        return folder

    @classmethod
    def check(cls, output: str | Path, name: str, *, overwrite: bool = False) -> None:
        """Refuses what `create` would refuse for what is in the folder; makes and deletes nothing.

        Raises:
          RunFolderError: as `create`.
        """
        folder = cls(Path(output) / name)
        if folder.path.is_dir() and any(folder.path.iterdir()):
            folder._check_replaceable(overwrite)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """A folder that rank 0, or an earlier run, has made and marked.

        Raises:
          RunFolderError: it is none.
        """
        folder = cls(Path(path))
        if not folder._is_marked():
            actual = "a folder without it" if folder.path.is_dir() else "no folder of that name"
            raise RunFolderError(
                f"'{path}' must be a run folder with its config.json, got {actual}; give the "
                "folder of a run (workers on several hosts need a disk that all share)"
            )
        return folder

    @property
    def figure(self) -> Path:
        """The file of the figure."""
        return self.path / "figure.png"

    def metrics(self, rank: int) -> Path:
        """The metrics of one worker."""
        return self.path / f"rank{rank}" / "metrics.jsonl"

    def recording(self, rank: int) -> Path:
        """Who read and wrote what on one worker, if that was recorded."""
        return self.path / f"rank{rank}" / "recording.npz"

    def tensorboard(self, rank: int) -> Path:
        """The folder of one worker's TensorBoard events."""
        return self.path / "tensorboard" / f"rank{rank}"

    def ranks(self) -> tuple[int, ...]:
        """The workers that have written metrics, in order."""
        parents = (file.parent.name for file in self.path.glob("rank*/metrics.jsonl"))
        matches = (_RANK.fullmatch(name) for name in parents)
        return tuple(sorted(int(match[1]) for match in matches if match))

    def write_config(self, config: RunConfig) -> None:
        """Writes config.json, which marks the folder: before any other file."""
        self._write("config.json", to_dict(config))

    def read_config(self) -> RunConfig:
        """The inverse of `write_config`."""
        return validated(json.loads((self.path / "config.json").read_text()))

    def write_environment(self, environment: Environment) -> None:
        """Writes environment.json."""
        self._write("environment.json", environment._asdict())

    def read_environment(self) -> Environment:
        """The inverse of `write_environment`."""
        return Environment(**json.loads((self.path / "environment.json").read_text()))

    def write_summary(self, summary: RunSummary) -> None:
        """Writes summary.json."""
        self._write("summary.json", summary._asdict())

    def read_summary(self) -> RunSummary | None:
        """The inverse of `write_summary`; None before the end of the run.

        Raises:
          RunFolderError: the file is none of ours.
        """
        file = self.path / "summary.json"
        try:
            return decode_summary(json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RunFolderError(
                f"'{file}' must be the summary of a run of this version, got '{error}'; "
                "delete the file or repeat the run"
            ) from error

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        temporary = self.path / f"{name}.temporary"
        text = json.dumps(finite(content), indent=2, allow_nan=False)
        temporary.write_text(text + "\n")
        os.replace(temporary, self.path / name)

    def _is_marked(self) -> bool:
        """Many programs write a config.json; ours has these keys."""
        try:
            content = json.loads((self.path / "config.json").read_text())
        except (OSError, ValueError):
            return False
        return isinstance(content, dict) and content.keys() >= _MARKS

    def _check_replaceable(self, overwrite: bool) -> None:
        if not self._is_marked():
            raise RunFolderError(
                f"run folder '{self.path}' must be new, empty or of an earlier run, got a folder "
                "of other files; use another --config.name=..."
            )
        if not overwrite:
            raise RunFolderError(
                f"run folder '{self.path}' must be new or empty, got one with an earlier run; use "
                "--overwrite (run_mpi: overwrite=True) to replace that run, or another --config.name=..."
            )

    def _delete_files(self) -> None:
        """Links are not followed: what is behind one may be anybody's."""
        mark = self.path / "config.json"
        for folder, _, names in os.walk(self.path, topdown=False):
            for file in (Path(folder, name) for name in names):
                if file != mark and _FILES.fullmatch(self._relative(file)):
                    file.unlink()
            if _FOLDERS.fullmatch(self._relative(Path(folder))) and not os.listdir(folder):
                os.rmdir(folder)
        mark.unlink(missing_ok=True)  # last, so that a deletion cut short can be done again

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()
