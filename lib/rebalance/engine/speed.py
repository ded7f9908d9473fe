"""What a run takes on this machine: speed.json, apart from the results, whose bytes repeat.

The run's own training steps, and its predictions, are timed from its trained weights: that is how
most of a training looks, and a detector's speed at test depends on what it finds. Nothing of it is
kept. It is a step of its own, as a training may be stopped, moved to another machine, or share one.

speed.json is one object::

    run, seed, scale        of the training
    device, threads         of the GPU its name; threads are of the CPU
    warm_up                 iterations, and images, that went before those measured
    iterations, batch_size  measured, each of as many images: one device's part of a batch
    train_seconds_per_iter  median; loading, losses, gradients and update; no traffic of devices
    memory_gb               GiB of tensors at the peak of these, on a GPU; null on a CPU
    process_memory_gb       GiB of the process at its peak, libraries and all
    images, images_per_second   measured one at a time: their number by the sum of their times;
                            from the network's input to COCO results, masks encoded
"""

import json
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from rebalance.data.files import write_atomically
from rebalance.engine.batches import training_batches
from rebalance.engine.loading import (
    BatchDataset,
    LoadFailure,
    Normaliser,
    batch_loader,
    to_device,
)
from rebalance.engine.predict import batch_detections
from rebalance.engine.progress import progress_bar
from rebalance.engine.seeds import keyed_rng
from rebalance.engine.trained_run import TrainedRun, open_trained_run
from rebalance.engine.updates import Updates
from rebalance.errors import InputError

ITERATIONS, WARM_UP = 50, 10


def measure_speed(
    run_dir: str | Path,
    out: str | Path,
    *,
    iterations: int = ITERATIONS,
    warm_up: int = WARM_UP,
    threads: int | None = None,
) -> None:
    """Write speed.json (see the module) of a trained run.

    Args:
        run_dir: holds model.safetensors and run.yaml; neither can run code.
        out: the file to write, whole or not at all.
        iterations: measured; at test as many images, or all if there are fewer.
        warm_up: of both, before those.
        threads: of the CPU; None leaves torch's number.

    Raises:
        InputError: missing or damaged files, too few images, a class mapping that is not that of
            the training.
    """
    training = open_trained_run(run_dir, "train", for_training=True, threads=threads)
    settings, device = training.settings, training.fabric.device
    batch_size = max(1, settings["schedule"]["batch_size"] // settings["hardware"]["devices"])
    if len(training.dataset) < batch_size:
        raise InputError(
            f"{training.dataset.annotations}: a batch has {batch_size} images, there are "
            f"{len(training.dataset)}"
        )
    trained = islice(timed_training(training, batch_size), warm_up + iterations)
    seconds = list(progress_bar(trained, total=warm_up + iterations, desc="training"))[warm_up:]
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    test = open_trained_run(run_dir, "val", threads=threads)
    tested = list(islice(timed_prediction(test), warm_up + iterations))[warm_up:]
    if not tested:
        raise InputError(
            f"{test.dataset.annotations}: must have more than the {warm_up} images of the warm-up, "
            f"got {len(test.dataset)}"
        )
    content = {
        **{key: settings[source] for key, source in
           (("run", "name"), ("seed", "seed"), ("scale", "scale"))},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "warm_up": warm_up,
        "iterations": len(seconds),
        "batch_size": batch_size,
        "train_seconds_per_iter": statistics.median(seconds),
        "memory_gb": memory,
        "process_memory_gb": of_process,
        "images": len(tested),
        "images_per_second": len(tested) / sum(tested),
    }  # fmt: skip
    write_atomically(out, (json.dumps(content, indent=1) + "\n").encode())


def timed_training(run: TrainedRun, batch_size: int) -> Iterator[float]:
    """Seconds of one iteration after the other, endlessly, at the rate of the training's last.

    Args:
        run: to go on with; its detector is changed.
        batch_size: images of an iteration.

    Raises:
        InputError: an image that cannot be read.
    """
    schedule, seed = run.settings["schedule"], int(run.settings["seed"])
    dataset = BatchDataset(run.dataset, run.settings["image"], seed)
    plans = training_batches(
        dataset.sizes(),
        batch_size,
        seed,
        size_of=dataset.size_of,
        step=dataset.prepare.resize.canvas_step,
    )
    on_gpu = run.fabric.device.type == "cuda"
    workers = run.settings["hardware"]["num_workers"]
    batches = iter(batch_loader(dataset, plans, workers, pin_memory=on_gpu))
    normalise = Normaliser(run.settings["image"], run.fabric.device)
    run.detector.train()
    channels_last = run.settings["hardware"]["channels_last"]
    updates = Updates(run.fabric, run.detector, schedule, channels_last)
    clock = _clock(run.fabric.device)
    last = schedule["iterations"] - 1
    while True:
        start = clock()
        batch = next(batches)
        if isinstance(batch, LoadFailure):
            raise InputError(batch.message)
        images, targets = to_device(batch, run.fabric.device)
        images = normalise(images, [target["image_size"] for target in targets])
        rngs = [keyed_rng(seed, last, target["image_id"], "sampling") for target in targets]
        updates.backward(last, images, targets, rngs)
        updates.apply()
        yield clock() - start


def timed_prediction(run: TrainedRun) -> Iterator[float]:
    """Seconds of one image of the run's data set after the other."""
    run.detector.eval()
    schedule: dict[str, Any] = {**run.settings["schedule"], "batch_size": 1}
    alone = run._replace(settings={**run.settings, "schedule": schedule})
    clock = _clock(run.fabric.device)
    for plan, images, targets in alone.batches("prediction"):
        start = clock()
        batch_detections(run, plan, images, targets)
        yield clock() - start


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds: of the GPU, once it has done what it was given; of this thread on the CPU.

    The time of a thread leaves out other work on the machine, and what data loaders do beside it.
    """
    if device.type != "cuda":
        return time.thread_time

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def device_name(device: torch.device) -> str:
    """Of a GPU its model, of a CPU its kind: ``CPU (x86_64)``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.processor() or platform.machine()})"
