"""Training of one run: resolved settings in, model.safetensors, log.csv and run.yaml out.

A run is defined by its settings and seed. Batches, augmentation and samples are functions of (seed,
iteration, image), so a training that was killed and started again ends with the bytes of one that
was not (on one machine's CPU, with the same number of threads).

Several processes share each global batch. Normalisers are means over all of them, so losses and
gradients are those of the global batch; see ``rebalance.distributed``.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from rebalance.config.code import training_code
from rebalance.config.parse import parse
from rebalance.config.run import Run
from rebalance.data.coco import CocoDataset
from rebalance.data.files import prepare_folder
from rebalance.detectors import build_detector
from rebalance.engine.agreement import Agreement, say
from rebalance.engine.batches import part_of_rank, training_batches
from rebalance.engine.fabric import make_fabric
from rebalance.engine.loading import (
    STOP_SIGNALS,
    Batch,
    BatchDataset,
    LoadFailure,
    Normaliser,
    batch_loader,
    to_device,
)
from rebalance.engine.progress import progress_bar
from rebalance.engine.provenance import contents_of
from rebalance.engine.run_folder import RunFolder, one_training
from rebalance.engine.seeds import keyed_rng, seed_of
from rebalance.engine.standstill import ended_at_standstill
from rebalance.engine.updates import Updates
from rebalance.engine.watching import Log, check_tensorboard, scalars_log
from rebalance.errors import InputError


class NonFiniteLossError(ArithmeticError):
    """A loss or the gradient became nan or infinite, of a run that must not diverge."""


def train(
    run: Mapping[str, Any],
    out_dir: str | Path,
    threads: int | None = None,
    wait: float | None = None,
    epochs: int = 0,
    tensorboard: Path | None = None,
) -> bool:
    """Train, or go on from the checkpoint that an unfinished training left in ``out_dir``.

    While another process trains there this one waits for it. The result of a finished training of
    the same settings, code and data is left as it is.

    Args:
        run: settings, see ``rebalance.config.run.Run``; what is left out has its default.
        out_dir: gets model.safetensors, log.csv and run.yaml at the end, checkpoint.pt meanwhile.
        threads: of the CPU; None leaves torch's number. Results on a CPU depend on it.
        wait: seconds for another training in the folder; None: as long as it lives.
        epochs: equal parts of the training after each of which the weights are kept in
            ``out_dir/epochs``; 0: none.
        tensorboard: gets in ``<name>/seed<k>`` the scalars of the log; None: none are written.

    Returns:
        True when the training is finished, or has diverged and may; the log then ends with the
        values that are not finite. False when a signal (SIGTERM, SIGINT, SIGHUP) stopped it after a
        checkpoint.

    Raises:
        InputError: settings or data at fault, scalars asked for without the package tensorboard, or
            ``out_dir`` holds the result of another run or seed. A file that cannot be read in the
            middle of the training leaves a checkpoint of the iteration before.
        BusyError: another training still runs in the folder.
        NonFiniteLossError: with iteration, image ids and the loss's name, unless the run
            ``may_diverge``.
        OutputError: the disk is full; the last checkpoint is intact.
    """
    checked = parse(Run, run, "settings")
    run = checked.model_dump()
    if tensorboard is not None:
        check_tensorboard()
    out = prepare_folder(out_dir)
    # Before there are other processes.
    dataset = CocoDataset(**run["dataset"]["train"], masks=checked.detector.needs_masks)
    if len(dataset) == 0:
        raise InputError(f"{dataset.annotations}: there are no images")
    if threads is not None:
        torch.set_num_threads(threads)
    fabric = make_fabric(run["hardware"])
    with (
        _stop_on_signals() as stop_requested,
        one_training(out, run["hardware"]["devices"], wait, stop_requested),
    ):
        fabric.launch()
        if threads is not None:
            torch.set_num_threads(threads)
        if run["schedule"]["batch_size"] % fabric.world_size:
            raise InputError(
                f"schedule.batch_size must be a multiple of hardware.devices, got "
                f"{run['schedule']['batch_size']} and {fabric.world_size}"
            )
        folder = RunFolder(out, run, _made_from(checked), fabric, epochs)
        if folder.is_finished():
            say(f"{out}: this training is finished; remove the folder to train again")
            return True
        with (
            ended_at_standstill(fabric, run["hardware"]["timeout"]) as met,
            _reproducible(fabric.device),
        ):
            agreement = Agreement(fabric, met)
            training = _Training(agreement, run, dataset, folder)
            with scalars_log(tensorboard, run, training.iteration) as log_scalars:
                return training.run_to_end(stop_requested, log_scalars)


def _made_from(run: Run) -> dict[str, str]:
    weights = getattr(run.backbone, "weights", None)
    files = [run.dataset.train.annotations, *([weights] if weights else [])]
    return {"code": training_code(run), "data": contents_of(files)}


class _Training:
    """The loop, between its iterations."""

    def __init__(
        self,
        agreement: Agreement,
        run: Mapping[str, Any],
        dataset: CocoDataset,
        folder: RunFolder,
    ) -> None:
        self.agreement, self.settings, self.dataset, self.folder = agreement, run, dataset, folder
        self.fabric = fabric = agreement.fabric
        self.schedule, self.seed = run["schedule"], int(run["seed"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, "weights"))
            self.detector = build_detector(run, dataset.num_classes)
        checkpoint = folder.open()
        if checkpoint is not None:
            self.detector.load_state_dict(checkpoint["model"])
        channels_last = run["hardware"]["channels_last"]
        self.updates = Updates(fabric, self.detector, self.schedule, channels_last)
        self.iteration = 0
        self.diverged: int | None = None
        if checkpoint is not None:
            self.updates.load_state(checkpoint)
            self.iteration = checkpoint["iteration"]
        self.normalise = Normaliser(run["image"], fabric.device)

    def run_to_end(self, stop_requested: Callable[[], bool], log_scalars: Log) -> bool:
        """Train until the last iteration, divergence, or until asked to stop; True if finished."""
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
                if not self.agreement.to_go_on(failure, stop_requested()):
                    return self._stop(failure)
                values = self._step(batch)
                log_scalars(values, self.iteration + 1)
                if self.diverged is not None:
                    # The checkpoint of before goes first: whoever starts from it diverges again.
                    failure = self._save() or self.folder.record(self.diverged, values)
                    break
                self.iteration += 1
                failure = self.folder.record(self.iteration, values)
                # Before the checkpoint: whoever goes on from that has the epochs until there.
                failure = failure or self.folder.keep_epoch(self.iteration, self.detector)
                at_checkpoint = self.iteration % self.schedule["checkpoint_every"] == 0
                if failure is None and (at_checkpoint or self.iteration == total):
                    failure = self._save()
                progress.update()
                progress.set_postfix(
                    {name.removesuffix("_loss"): f"{v:.3f}" for name, v in values.items()},
                    refresh=False,
                )
        if not self.agreement.to_go_on(failure, stop=False):
            return self._stop(failure)
        self.folder.finish(self.detector, self.dataset, self.diverged)
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
            step=dataset.prepare.resize.canvas_step,
        )
        return batch_loader(
            dataset,
            (part_of_rank(plan, rank, world) for plan in plans),
            self.settings["hardware"]["num_workers"],
            pin_memory=self.fabric.device.type == "cuda",
        )

    def _step(self, batch: Batch) -> dict[str, float]:
        """One update, unless the training diverges; what the log shows, of the global batch."""
        images, targets = to_device(batch, self.fabric.device)
        images = self.normalise(images, [target["image_size"] for target in targets])
        rngs = [
            keyed_rng(self.seed, self.iteration, target["image_id"], "sampling")
            for target in targets
        ]
        values = self.updates.backward(self.iteration, images, targets, rngs)
        wrong = self.updates.not_finite(values)
        if wrong:
            self._diverge(wrong, values, targets)
        else:
            self.updates.apply()
        return values

    def _diverge(
        self, wrong: list[str], values: Mapping[str, float], targets: list[dict[str, Any]]
    ) -> None:
        ids = self.agreement.messages(", ".join(str(target["image_id"]) for target in targets))
        named = ", ".join(f"{name} is {values[name]}" for name in wrong)
        message = f"iteration {self.iteration + 1}: {named}; images {', '.join(ids)}"
        if self.settings["may_diverge"]:
            say(f"diverged: {message}; the training ends here")
            self.diverged = self.iteration + 1
            return
        self.agreement.fail(lambda: NonFiniteLossError(f"{message}; the last checkpoint is kept"))

    def _save(self) -> str | None:
        return self.folder.save(self.iteration, self.detector, self.updates.state())

    def _stop(self, failure: str | None) -> bool:
        """Save where that is possible; if any process has failed, all end here."""
        messages = self.agreement.messages(failure, self._save())
        if messages:
            self.agreement.fail(lambda: InputError("; ".join(messages)))
        say(f"stopped after iteration {self.iteration} with a checkpoint; start again to go on")
        return False


@contextmanager
def _stop_on_signals() -> Iterator[Callable[[], bool]]:
    """A question whether a signal has asked to stop.

    SLURM sends SIGTERM before it kills, Ctrl-C is SIGINT, a terminal that closes sends SIGHUP. The
    second of a kind does what it does elsewhere.
    """
    received = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before = {int(number): signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
