"""The folder of a training: its checkpoint while it runs, its results at the end.

Results have two names, one in the folder and one in ``.finished`` below it. A workflow deletes what
stands under the names that it knows before it starts a training, also what a training that outlived
a killed workflow has finished meanwhile; the next one then gives it its name again.
"""

import json
import os
import shutil
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
    UNFINISHED_LOG,
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
RESULTS = (MODEL, LOG, SETTINGS)
"""Settings come last: with them it is whole."""
FINISHED = ".finished"
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
        made_from: what the result depends on beside its settings, as digests: "code", "data".
        fabric: of the training.
        epochs: equal parts of the training after each of which the weights are kept; 0: none.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        made_from: Mapping[str, str],
        fabric: Fabric,
        epochs: int = 0,
    ) -> None:
        self.path, self.settings, self.made_from, self.fabric = path, settings, made_from, fabric
        self.log: TrainingLog | None = None
        iterations = settings["schedule"]["iterations"]
        self.epoch_ends = {-(-iterations * (k + 1) // epochs) for k in range(epochs)}

    def is_finished(self) -> bool:
        """Whether it holds the result of this very training: same settings, code, data and
        epochs.

        Raises:
            InputError: it holds that of another run or seed, or its settings cannot be read.
        """
        kept = self._holds_result(self.path / FINISHED)
        begun_anew = (self.path / CHECKPOINT).exists()
        finished = kept or (self._holds_result(self.path) and not begun_anew)
        self.fabric.barrier()
        if kept and self.fabric.is_global_zero:
            self._take_over()
        self.fabric.barrier()
        return finished

    def _holds_result(self, folder: Path) -> bool:
        if not all((folder / name).exists() for name in RESULTS):
            return False
        found = read_trained_run(folder / SETTINGS).model_dump()
        for key in ("name", "scale", "seed"):
            if found[key] != self.settings[key]:
                raise InputError(
                    f"{folder / SETTINGS}: {key}: the finished training here is of "
                    f"{found[key]!r}, asked for is {self.settings[key]!r}: give another --out"
                )
        settings = {key: found[key] for key in Run.model_fields}
        same_settings = _influential(settings) == _influential(self.settings)
        same_sources = all(
            found["made_with"].get(what) == digest for what, digest in self.made_from.items()
        )
        same_epochs = not self.epoch_ends or self.epoch_ends == set(epoch_weights(self.path))
        return same_settings and same_sources and same_epochs

    def _take_over(self) -> None:
        """Give the files in FINISHED their names in the folder."""
        for name in RESULTS:
            _give_name(self.path / name, self.path / FINISHED / name)
        (self.path / UNFINISHED_LOG).unlink(missing_ok=True)
        remove_checkpoints(self.path)

    def open(self) -> dict[str, Any] | None:
        """The checkpoint to go on from, if there is one; the log is then open for writing.

        A checkpoint of other settings, code or data is put aside.

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
                "made_from": dict(self.made_from),
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
                **self.made_from,
                "versions": versions(),
                "device": str(self.fabric.device.type),
                "processes": self.fabric.world_size,
                "threads": torch.get_num_threads(),
            },
            "diverged": diverged,
        }
        finished = self.path / FINISHED
        try:
            (finished / SETTINGS).unlink(missing_ok=True)
            write_atomically(finished / MODEL, _weights_bytes(detector))
            write_atomically(finished / LOG, self.log.path.read_bytes())
            text = yaml.safe_dump(settings, sort_keys=False)
            write_atomically(finished / SETTINGS, text.encode())
            self._take_over()
        except OSError as error:
            raise OutputError(
                f"{self.path}: the results cannot be written: {error.strerror or error}; "
                "the checkpoint is intact: make room and start again"
            ) from error

    def _usable(self, checkpoint: dict[str, Any]) -> dict[str, Any] | None:
        reason = None
        if checkpoint["settings"] != _influential(self.settings):
            reason = "other settings"
        elif checkpoint.get("made_from") != self.made_from:
            reason = "other code or data"
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


def _give_name(path: Path, file: Path) -> None:
    """Let ``path`` name a file, in one step: a hard link, or a copy where there are none."""
    if path.exists() and path.samefile(file):
        return
    beside = file.with_suffix(".link")
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, beside)
    os.utime(beside)  # a workflow asks for outputs that are newer than inputs
    beside.replace(path)
