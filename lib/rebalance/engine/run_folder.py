"""The folder of a training: its checkpoint while it runs, its results at the end."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_fabric import Fabric
from safetensors.torch import save as safetensors_bytes

from rebalance.config.run import Run, read_trained_run
from rebalance.data.coco import CocoDataset
from rebalance.data.files import write_atomically
from rebalance.detectors.build import num_trainable
from rebalance.detectors.detector import Detector
from rebalance.engine.agreement import say
from rebalance.engine.checkpoint import (
    CHECKPOINT,
    PREVIOUS,
    OutputError,
    TrainingLog,
    choose_checkpoint,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from rebalance.engine.fabric import will_be_main
from rebalance.engine.provenance import git_commit, versions
from rebalance.errors import InputError
from rebalance.locks import locked

MODEL, LOG, SETTINGS = "model.safetensors", "log.csv", "run.yaml"
EPOCHS = "epochs"
"""Folder of the weights after each epoch, ``<iteration>.safetensors``, where these are kept."""
STALE_CHECKPOINT = "checkpoint.stale.pt"
WITHOUT_INFLUENCE = ("hardware", "variants")
"""Settings that may change between the parts of one training."""


@contextmanager
def one_training(
    path: Path, devices: int, wait: float | None, stop_requested: Callable[[], bool]
) -> Iterator[None]:
    """No other training writes to the folder during the block; see ``locks.locked``.

    The main process holds the lock for all, from before it meets the others.

    Raises:
        BusyError: another training runs there after ``wait`` seconds, or at a request to stop.
    """
    if not will_be_main(devices, os.environ):
        yield
        return
    with locked(path / ".lock", f"training in {path}", wait, stop_requested):
        yield


class RunFolder:
    """Reads on every process, writes on the main one.

    Args:
        path: the folder.
        settings: of the run.
        code: fingerprint of the code that the training depends on.
        fabric: of the training.
        epochs: equal parts of the training after each of which the weights are kept; 0: none.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        code: str,
        fabric: Fabric,
        epochs: int = 0,
    ) -> None:
        self.path, self.settings, self.code, self.fabric = path, settings, code, fabric
        self.log: TrainingLog | None = None
        iterations = settings["schedule"]["iterations"]
        self.epoch_ends = {-(-iterations * (k + 1) // epochs) for k in range(epochs)}

    def is_finished(self) -> bool:
        """Whether it holds the result of this very training: same settings, code and epochs.

        Raises:
            InputError: it holds that of another run or seed, or its settings cannot be read.
        """
        if not all((self.path / name).exists() for name in (MODEL, SETTINGS, LOG)):
            return False
        found = read_trained_run(self.path / SETTINGS).model_dump()
        for key in ("name", "scale", "seed"):
            if found[key] != self.settings[key]:
                raise InputError(
                    f"{self.path / SETTINGS}: {key}: the finished training here is of "
                    f"{found[key]!r}, asked for is {self.settings[key]!r}: give another --out"
                )
        if (self.path / CHECKPOINT).exists():  # killed just before the end, or begun anew
            return False
        settings = {key: found[key] for key in Run.model_fields}
        same_settings = _influential(settings) == _influential(self.settings)
        same_code = found["made_with"].get("code") == self.code
        same_epochs = not self.epoch_ends or self.epoch_ends == set(epoch_weights(self.path))
        return same_settings and same_code and same_epochs

    def open(self) -> dict[str, Any] | None:
        """The checkpoint to go on from, if there is one; the log is then open for writing.

        A checkpoint of other settings or other code is put aside.

        Raises:
            InputError: a file that is no checkpoint, or a log that is shorter than it.
        """
        if self.fabric.is_global_zero:
            for message in choose_checkpoint(self.path):
                say(message)
        self.fabric.barrier()
        checkpoint = load_checkpoint(self.path)
        self.fabric.barrier()
        if checkpoint is not None:
            checkpoint = self._usable(checkpoint)
        if self.fabric.is_global_zero:
            reached = checkpoint["iteration"] if checkpoint else 0
            for iteration, weights in epoch_weights(self.path).items():
                if iteration > reached or iteration not in self.epoch_ends:
                    weights.unlink()  # of another training, or to be written again
            self.log = TrainingLog(self.path, checkpoint["log_bytes"] if checkpoint else 0)
        return checkpoint

    def record(self, iteration: int, values: Mapping[str, float]) -> str | None:
        """Write the log's row of an iteration (from 1); what went wrong, if anything."""
        if self.log is None:
            return None
        try:
            if iteration == 1:
                self.log.write(["iteration", *values])
            self.log.write([str(iteration), *(f"{value:.9g}" for value in values.values())])
        except OutputError as error:
            return str(error)
        return None

    def save(self, iteration: int, detector: Detector, state: Mapping[str, Any]) -> str | None:
        """Write the checkpoint; what went wrong, if anything."""
        if self.log is None:
            return None
        try:
            save_checkpoint(self.path, {
                "settings": _influential(self.settings),
                "code": self.code,
                "threads": torch.get_num_threads(),
                "iteration": iteration,
                "log_bytes": self.log.sync(),
                "model": detector.state_dict(),
                **state,
            })  # fmt: skip
        except OutputError as error:
            return str(error)
        return None

    def keep_epoch(self, iteration: int, detector: Detector) -> str | None:
        """Write the weights if an epoch ends here; what went wrong, if anything."""
        if self.log is None or iteration not in self.epoch_ends:
            return None
        path = self.path / EPOCHS / f"{iteration}.safetensors"
        try:
            write_atomically(path, _weights_bytes(detector))
        except OSError as error:
            return f"{path}: cannot be written: {error.strerror or error}; make room and go on"
        return None

    def finish(self, detector: Detector, dataset: CocoDataset, diverged: int | None) -> None:
        """Write model, settings and log, and remove the checkpoint.

        Args:
            detector: what was trained.
            dataset: on what.
            diverged: the iteration (from 1) that ended the training, if one did.

        Raises:
            OutputError: a file cannot be written; the checkpoint is intact.
        """
        if self.log is None:
            return
        self.log.sync()
        self.log.close()
        settings = {
            **self.settings,
            "classes": {"ids": list(dataset.class_ids), "names": list(dataset.class_names)},
            "params_k": num_trainable(detector) / 1000,
            "made_with": {
                "commit": git_commit(),
                "code": self.code,
                "versions": versions(),
                "device": str(self.fabric.device.type),
                "processes": self.fabric.world_size,
                "threads": torch.get_num_threads(),
            },
            "diverged": diverged,
        }
        try:
            write_atomically(self.path / MODEL, _weights_bytes(detector))
            text = yaml.safe_dump(settings, sort_keys=False)
            write_atomically(self.path / SETTINGS, text.encode())
            write_atomically(self.path / LOG, self.log.path.read_bytes())
        except OSError as error:
            raise OutputError(
                f"{self.path}: the results cannot be written: {error.strerror or error}; "
                "the checkpoint is intact: make room and start again"
            ) from error
        self.log.path.unlink()
        remove_checkpoints(self.path)

    def _usable(self, checkpoint: dict[str, Any]) -> dict[str, Any] | None:
        reason = None
        if checkpoint["settings"] != _influential(self.settings):
            reason = "other settings"
        elif checkpoint["code"] != self.code:
            reason = "other code"
        elif not {end for end in self.epoch_ends if end <= checkpoint["iteration"]} <= set(
            epoch_weights(self.path)
        ):
            reason = "a training that did not keep the weights of its epochs"
        if reason is not None:
            say(
                f"{self.path / CHECKPOINT} is of {reason}: it becomes {STALE_CHECKPOINT}, "
                "the training begins anew"
            )
            if self.fabric.is_global_zero:
                (self.path / CHECKPOINT).replace(self.path / STALE_CHECKPOINT)
                (self.path / PREVIOUS).unlink(missing_ok=True)
            return None
        if checkpoint["threads"] != torch.get_num_threads():
            say(
                f"the checkpoint was made with {checkpoint['threads']} threads, now there are "
                f"{torch.get_num_threads()}: the bytes will differ from an uninterrupted run's"
            )
        say(f"going on after iteration {checkpoint['iteration']}")
        return checkpoint


def epoch_weights(path: Path) -> dict[int, Path]:
    """Weights that a training kept after its epochs: iteration -> file, in order; none at all."""
    files = {int(file.stem): file for file in (path / EPOCHS).glob("*.safetensors")}
    return dict(sorted(files.items()))


def _weights_bytes(detector: Detector) -> bytes:
    state = {name: value.cpu().contiguous() for name, value in detector.state_dict().items()}
    return safetensors_bytes(state)


def _influential(settings: Mapping[str, Any]) -> str:
    """The settings that decide the result, as JSON."""
    kept = {key: value for key, value in settings.items() if key not in WITHOUT_INFLUENCE}
    image, detector = (
        {key: value for key, value in settings[section].items() if key != "test"}
        for section in ("image", "detector")
    )
    schedule = {key: v for key, v in settings["schedule"].items() if key != "checkpoint_every"}
    precision = settings["hardware"]["precision"]
    return json.dumps(
        {**kept, "image": image, "detector": detector, "schedule": schedule,
         "precision": precision},
        sort_keys=True,
    )  # fmt: skip
