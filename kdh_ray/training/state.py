"""State of a training after its last epoch, in safetensors and JSON; nothing is pickled."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdh_ray.errors import CheckpointError

_BEST = "best.safetensors"
_LAST = "last"  # an empty file: no epoch follows


class TrainingState:
    """Files of one training.

    The folder ``epoch-N`` holds weights, averaged weights and optimiser moments after epoch N, the history up to it,
    and in ``best.safetensors`` the weights of the best epoch. After the last epoch it holds only the history and the
    best weights. A folder is written whole and then renamed, and the one before is removed after that, so that a kill
    at any moment leaves one to resume from.
    """

    def __init__(
        self, folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: nn.Module | None
    ) -> None:
        self.folder, self.model, self.optimiser, self.average = folder, model, optimiser, average

    def save(self, history: list[dict[str, Any]], best: nn.Module | None, last: bool = False) -> None:
        """Store the state after the latest epoch of ``history``, and ``best`` if that epoch is the best so far.

        The ``last`` epoch is stored without the state that a further epoch would need.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix=".writing-"))
        if last:
            (temporary / _LAST).touch()
        else:
            _save(self._tensors(), temporary / "state.safetensors")
        (temporary / "history.json").write_text(json.dumps(history), encoding="utf-8")
        if best is not None:
            _save(best.state_dict(), temporary / _BEST)
        elif self._epochs():
            _link(self._epochs()[-1] / _BEST, temporary / _BEST)
        earlier = self._epochs()
        # Zero-padded numbers sort as names. Earlier epochs go only after this one is complete.
        os.replace(temporary, self.folder / f"epoch-{len(history):04d}")
        for folder in earlier:
            shutil.rmtree(folder, ignore_errors=True)

    def newest(self) -> str | None:
        """Return the name of the last saved epoch, or None before the first."""
        epochs = self._epochs()
        return epochs[-1].name if epochs else None

    def restore(self, epoch: str | None) -> list[dict[str, Any]]:
        """Load a saved epoch into model, optimiser and average; return its history, empty for None.

        Args:
            epoch: As ``newest`` names it, on the machine that saved it.

        Raises:
            CheckpointError: If the files can't be read or belong to another model.
        """
        if epoch is None:
            return []
        folder = self.folder / epoch
        try:
            history: list[dict[str, Any]] = json.loads((folder / "history.json").read_text(encoding="utf-8"))
            if (folder / _BEST).exists():
                with safe_open(folder / _BEST, "pt"):
                    pass  # a damaged file is an error now, not after the last epoch
            if (folder / _LAST).exists():
                return history
            tensors = load_file(folder / "state.safetensors")
            self.model.load_state_dict(_under("model.", tensors))
            if self.average is not None:
                self.average.load_state_dict(_under("average.", tensors))
            self._restore_moments(_under("moment.", tensors))
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise _unusable(folder, error) from None
        return history

    def best_weights(self, epoch: str | None) -> dict[str, Tensor] | None:
        """Return the weights of the best epoch up to ``epoch``, or None before the first.

        Raises:
            CheckpointError: If they can't be read.
        """
        if epoch is None:
            return None
        try:
            weights: dict[str, Tensor] = load_file(self.folder / epoch / _BEST)
        except (OSError, SafetensorError) as error:
            raise _unusable(self.folder / epoch, error) from None
        return weights

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"moment.{number}.{name}": value for name, value in moments.items()}
        return tensors

    def _restore_moments(self, tensors: dict[str, Tensor]) -> None:
        state = self.optimiser.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            number, kind = name.split(".")  # "12.exp_avg": parameter 12, first moment
            moments.setdefault(int(number), {})[kind] = value
        self.optimiser.load_state_dict({**state, "state": moments})

    def _epochs(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-[0-9]*"))


def _unusable(folder: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"{folder} can't be resumed from ({reason}); remove it to start the stage again")


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    # Clones, since averaged and tied weights may share memory, which safetensors refuses.
    save_file({name: value.detach().clone().contiguous().cpu() for name, value in tensors.items()}, file)


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it on file systems without links, such as SMB and mounted buckets."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
