"""Training of one run: resolved settings in, model.safetensors, log.csv and run.yaml out.

A run is defined by its settings and seed. Batches, augmentation and samples are functions of (seed,
iteration, image), so a training that was killed and started again ends with the bytes of one that
was not (on one machine's CPU, with the same number of threads).

Several processes share each global batch. Normalisers are means over all of them, so losses and
gradients are those of the global batch; see ``rebalance.distributed``.
"""

import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import yaml
from lightning_fabric import Fabric
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from tqdm import tqdm

from rebalance import distributed
from rebalance.config.code import run_code
from rebalance.config.parse import parse
from rebalance.config.run import Run
from rebalance.data.coco import CocoDataset
from rebalance.data.files import prepare_folder, write_atomically
from rebalance.detectors import build_detector
from rebalance.engine.batches import part_of_rank, training_batches
from rebalance.engine.checkpoint import (
    CHECKPOINT,
    OutputError,
    TrainingLog,
    load_checkpoint,
    remove_leftovers,
    save_checkpoint,
)
from rebalance.engine.fabric import make_fabric
from rebalance.engine.loading import (
    Batch,
    BatchDataset,
    LoadFailure,
    Normaliser,
    batch_loader,
    to_device,
)
from rebalance.engine.progress import progress_bar
from rebalance.engine.provenance import git_commit, versions
from rebalance.engine.schedule import learning_rate
from rebalance.engine.seeds import keyed_rng, seed_of
from rebalance.errors import InputError

MODEL, LOG, SETTINGS = "model.safetensors", "log.csv", "run.yaml"
STALE_CHECKPOINT = "checkpoint.stale.pt"
WITHOUT_INFLUENCE = ("hardware", "variants")
"""Settings that may change between the parts of one training."""

_GO, _STOP, _FAILED = 0, 1, 2


class NonFiniteLossError(ArithmeticError):
    """A loss or the gradient became nan or infinite."""


def train(run: Mapping[str, Any], out_dir: str | Path, threads: int | None = None) -> bool:
    """Train, or go on from the checkpoint that an unfinished training left in ``out_dir``.

    Args:
        run: settings, see ``rebalance.config.run.Run``; what is left out has its default.
        out_dir: gets model.safetensors, log.csv and run.yaml at the end, checkpoint.pt meanwhile.
        threads: of the CPU; None leaves torch's number. Results on a CPU depend on it.

    Returns:
        True when the training is finished; False when SIGTERM stopped it after a checkpoint.

    Raises:
        InputError: settings or data at fault. A file that cannot be read in the middle of the
            training leaves a checkpoint of the iteration before.
        NonFiniteLossError: with iteration, image ids and the loss's name.
        OutputError: the disk is full; the last checkpoint is intact.
    """
    checked = parse(Run, run, "settings")
    run = checked.model_dump()
    out = prepare_folder(out_dir)
    # Before there are other processes.
    dataset = CocoDataset(**run["dataset"]["train"], masks=checked.detector.needs_masks)
    if len(dataset) == 0:
        raise InputError(f"{dataset.annotations}: there are no images")
    if threads is not None:
        torch.set_num_threads(threads)
    fabric = make_fabric(run["hardware"])
    fabric.launch()
    if threads is not None:
        torch.set_num_threads(threads)
    if run["schedule"]["batch_size"] % fabric.world_size:
        raise InputError(
            f"schedule.batch_size must be a multiple of hardware.devices, got "
            f"{run['schedule']['batch_size']} and {fabric.world_size}"
        )
    with _stop_on_sigterm() as stop_requested, _reproducible(fabric.device):
        code = run_code(checked, __name__)
        return _Training(fabric, run, code, dataset, out).run_to_end(stop_requested)


class _Training:
    """State of a training between iterations."""

    def __init__(
        self, fabric: Fabric, run: Mapping[str, Any], code: str, dataset: CocoDataset, out: Path
    ) -> None:
        self.fabric, self.settings, self.dataset, self.out = fabric, run, dataset, out
        self.schedule, self.seed = run["schedule"], int(run["seed"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, "weights"))
            self.detector = build_detector(run, self.dataset.num_classes)
        self.fingerprint = code
        checkpoint = self._usable_checkpoint()
        if checkpoint is not None:
            self.detector.load_state_dict(checkpoint["model"])
        self.optimizer = torch.optim.SGD(
            [p for p in self.detector.parameters() if p.requires_grad],
            lr=self.schedule["lr"],
            momentum=self.schedule["momentum"],
            weight_decay=self.schedule["weight_decay"],
        )
        self.model: nn.Module
        self.model, self.wrapped_optimizer = fabric.setup(self.detector, self.optimizer)
        self.iteration = 0
        log_bytes = 0
        if checkpoint is not None:
            self.optimizer.load_state_dict(checkpoint["optimizer"])
            fabric.strategy.precision.load_state_dict(checkpoint["precision"])
            self.iteration, log_bytes = checkpoint["iteration"], checkpoint["log_bytes"]
        self.log = TrainingLog(out, log_bytes) if fabric.is_global_zero else None
        self.normalise = Normaliser(run["image"], fabric.device)

    def run_to_end(self, stop_requested: Callable[[], bool]) -> bool:
        """Train until the last iteration or until asked to stop; True if finished."""
        total = self.schedule["iterations"]
        failure: str | None = None
        progress = progress_bar(
            total=total,
            initial=self.iteration,
            disable=not self.fabric.is_global_zero,
            desc=str(self.settings["name"]),
        )
        batches = iter(self._loader())
        with progress:
            while self.iteration < total:
                batch = next(batches)
                if isinstance(batch, LoadFailure):
                    failure = failure or batch.message
                if self._all_agree_to_stop(failure, stop_requested()):
                    return False
                values = self._step(batch)
                self.iteration += 1
                failure = self._record(values)
                at_checkpoint = self.iteration % self.schedule["checkpoint_every"] == 0
                if failure is None and (at_checkpoint or self.iteration == total):
                    failure = self._save()
                progress.update()
                progress.set_postfix(
                    {name.removesuffix("_loss"): f"{v:.3f}" for name, v in values.items()},
                    refresh=False,
                )
        self._all_agree_to_stop(failure, False)
        if self.fabric.is_global_zero:
            self._write_results()
        self.fabric.barrier()
        return True

    def _loader(self) -> Any:
        dataset = BatchDataset(self.dataset, self.settings["image"], self.seed)
        rank, world = self.fabric.global_rank, self.fabric.world_size
        plans = training_batches(
            dataset.sizes(),
            self.schedule["batch_size"],
            self.seed,
            start=self.iteration,
            size_of=dataset.size_of,
        )
        return batch_loader(
            dataset,
            (part_of_rank(plan, rank, world) for plan in plans),
            self.settings["hardware"]["num_workers"],
            pin_memory=self.fabric.device.type == "cuda",
        )

    def _step(self, batch: Batch) -> dict[str, float]:
        """One update; the values that the log shows, of the global batch."""
        lr = learning_rate(self.iteration, self.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        images, targets = to_device(batch, self.fabric.device)
        images = self.normalise(images, [target["image_size"] for target in targets])
        rngs = [
            keyed_rng(self.seed, self.iteration, target["image_id"], "sampling")
            for target in targets
        ]
        losses: dict[str, Tensor] = self.model(images, targets, rngs)
        loss = torch.stack(list(losses.values())).sum()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model,
            self.wrapped_optimizer,
            max_norm=self.schedule["clip_norm"] or math.inf,
            error_if_nonfinite=False,
        )
        assert isinstance(norm, Tensor)
        means = distributed.world_mean(torch.stack([loss, *losses.values()]))
        numbers = torch.cat([means, norm.reshape(1).to(means.dtype)]).tolist()
        values = dict(zip(["loss", *losses, "grad_norm"], numbers, strict=True))
        self._check_finite(values, targets)
        self.wrapped_optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"lr": lr, **values}

    def _check_finite(self, values: Mapping[str, float], targets: list[dict[str, Any]]) -> None:
        # With 16-mixed precision an infinite gradient is no fault: the scaler skips the update.
        scaled = self.settings["hardware"]["precision"] == "16-mixed"
        wrong = [
            name
            for name, value in values.items()
            if name != "loss" and not math.isfinite(value) and not (scaled and name == "grad_norm")
        ]
        if wrong:
            ids = distributed.world_messages(", ".join(str(t["image_id"]) for t in targets))
            self._leave_to_main_process()
            named = ", ".join(f"{name} is {values[name]}" for name in wrong)
            raise NonFiniteLossError(
                f"iteration {self.iteration + 1}: {named}; images {', '.join(ids)}; "
                "the last checkpoint is kept"
            )

    def _record(self, values: Mapping[str, float]) -> str | None:
        """Write the log's row; what went wrong, if anything."""
        if self.log is None:
            return None
        try:
            if self.iteration == 1:
                self.log.write(["iteration", *values])
            self.log.write([str(self.iteration), *(f"{value:.9g}" for value in values.values())])
        except OutputError as error:
            return str(error)
        return None

    def _save(self) -> str | None:
        """Write the checkpoint (rank 0); what went wrong, if anything."""
        if self.log is None:
            return None
        try:
            save_checkpoint(self.out, {
                "settings": _influential(self.settings),
                "code": self.fingerprint,
                "threads": torch.get_num_threads(),
                "iteration": self.iteration,
                "log_bytes": self.log.sync(),
                "model": self.detector.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
            })  # fmt: skip
        except OutputError as error:
            return str(error)
        return None

    def _all_agree_to_stop(self, failure: str | None, stop: bool) -> bool:
        """Whether any rank was asked to stop; if any failed, all raise. Saves where it can."""
        state = _FAILED if failure else _STOP if stop else _GO
        worst = distributed.world_max(state, self.fabric.device)
        if worst == _GO:
            return False
        messages = distributed.world_messages(failure) + distributed.world_messages(self._save())
        if not messages:
            _say(
                f"stopped after iteration {self.iteration} with a checkpoint; start again to go on"
            )
            return True
        self._leave_to_main_process()
        raise InputError("; ".join(dict.fromkeys(messages)))

    def _leave_to_main_process(self) -> None:
        """End the other processes quietly: all know of the error, one reports it."""
        if not self.fabric.is_global_zero:
            raise SystemExit(0)

    def _usable_checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint, if it is of these settings and this code; else it is put aside."""
        if self.fabric.is_global_zero:
            remove_leftovers(self.out)
        checkpoint = load_checkpoint(self.out)
        self.fabric.barrier()
        if checkpoint is None:
            return None
        reason = None
        if checkpoint["settings"] != _influential(self.settings):
            reason = "other settings"
        elif checkpoint["code"] != self.fingerprint:
            reason = "other code"
        if reason is not None:
            _say(
                f"{self.out / CHECKPOINT} is of {reason}: it becomes {STALE_CHECKPOINT}, "
                "the training begins anew"
            )
            if self.fabric.is_global_zero:
                (self.out / CHECKPOINT).replace(self.out / STALE_CHECKPOINT)
            return None
        if checkpoint["threads"] != torch.get_num_threads():
            _say(
                f"the checkpoint was made with {checkpoint['threads']} threads, now there are "
                f"{torch.get_num_threads()}: the bytes will differ from an uninterrupted run's"
            )
        _say(f"going on after iteration {checkpoint['iteration']}")
        return checkpoint

    def _write_results(self) -> None:
        assert self.log is not None
        self.log.sync()
        self.log.close()
        state = {
            name: value.cpu().contiguous() for name, value in self.detector.state_dict().items()
        }
        settings = {
            **self.settings,
            "classes": {
                "ids": list(self.dataset.class_ids),
                "names": list(self.dataset.class_names),
            },
            "made_with": {
                "commit": git_commit(),
                "versions": versions(),
                "device": str(self.fabric.device.type),
                "processes": self.fabric.world_size,
                "threads": torch.get_num_threads(),
            },
        }
        try:
            write_atomically(self.out / MODEL, safetensors_bytes(state))
            write_atomically(
                self.out / SETTINGS, yaml.safe_dump(settings, sort_keys=False).encode()
            )
            write_atomically(self.out / LOG, self.log.path.read_bytes())
        except OSError as error:
            raise OutputError(
                f"{self.out}: the results cannot be written: {error.strerror or error}; "
                "the checkpoint is intact: make room and start again"
            ) from error
        (self.out / CHECKPOINT).unlink()
        self.log.path.unlink()


def _influential(settings: Mapping[str, Any]) -> str:
    """The settings that decide the result, as JSON."""
    kept = {key: value for key, value in settings.items() if key not in WITHOUT_INFLUENCE}
    image = {key: v for key, v in settings["image"].items() if key != "test"}
    schedule = {key: v for key, v in settings["schedule"].items() if key != "checkpoint_every"}
    precision = settings["hardware"]["precision"]
    return json.dumps(
        {**kept, "image": image, "schedule": schedule, "precision": precision}, sort_keys=True
    )


@contextmanager
def _stop_on_sigterm() -> Iterator[Callable[[], bool]]:
    """A question whether SIGTERM (which SLURM sends before it kills) has come."""
    received = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms on the CPU; on CUDA those of cuDNN.

    On CUDA torch's switch stays off: RoIAlign's backward pass, for one, has no deterministic form.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    switches: Any = torch.utils.deterministic
    fill = switches.fill_uninitialized_memory
    switches.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.deterministic = before[1]
        switches.fill_uninitialized_memory = fill


def _say(message: str) -> None:
    if distributed.is_main_process():
        tqdm.write(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr)
