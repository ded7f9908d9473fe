"""CPU time of one training iteration, by phase: ``python benchmarks/training/step_time.py RUN``.

Process time, not wall time, so that other work on the machine does not count.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.data.coco import CocoDataset
from rebalance.detectors import build_detector
from rebalance.engine.batches import training_batches
from rebalance.engine.loading import Batch, BatchDataset, Normaliser
from rebalance.engine.seeds import keyed_rng


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--scale", default="shapes")
    parser.add_argument("--data", default="data")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run = resolve_run(
        load_experiments(), arguments.run, arguments.scale, data=arguments.data
    ).model_dump()
    dataset = BatchDataset(CocoDataset(**run["dataset"]["train"]), run["image"], seed=0)
    detector = build_detector(run, dataset.source.num_classes)
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-4, momentum=0.9)
    normalise = Normaliser(run["image"], torch.device("cpu"))
    plans = training_batches(
        dataset.sizes(), run["schedule"]["batch_size"], seed=0, size_of=dataset.size_of
    )
    seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(name: str, iteration: int) -> Iterator[None]:
        start = time.process_time()
        yield
        if iteration >= 2:  # the first two warm up
            seconds[name] += time.process_time() - start

    for iteration, plan in zip(range(arguments.iterations + 2), plans, strict=False):
        with phase("load", iteration):
            batch = dataset[plan]
            assert isinstance(batch, Batch)
        with phase("forward", iteration):
            rngs = [keyed_rng(0, iteration, target["image_id"]) for target in batch.targets]
            images = normalise(batch.images, [target["image_size"] for target in batch.targets])
            loss = torch.stack(list(detector(images, batch.targets, rngs).values())).sum()
        with phase("backward", iteration):
            loss.backward()
        with phase("update", iteration):
            torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
            optimizer.step()
            optimizer.zero_grad()
    for name, total in seconds.items():
        print(f"{name:10} {1000 * total / arguments.iterations:7.1f} ms")
    print(f"{'all':10} {1000 * sum(seconds.values()) / arguments.iterations:7.1f} ms")


if __name__ == "__main__":
    main()
