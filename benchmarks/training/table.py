"""Time and peak memory of a training iteration, detector x loss.

``python benchmarks/training/table.py`` measures the networks of the scale ``shapes``: they are
small, so that the losses weigh much. Another size: ``--scale paper --size 800 1333 --images 4
--device cuda --amp``.

Every detector is that of the thesis' ranking losses; with its standard loss come that loss's
sampler and the outputs that it trains besides (centerness, IoU, semantic branch). Two-stage
detectors stand twice with their standard loss, with the sampler and without, as ranking losses take
all RoIs and anchors. So there are two ratios: over the standard loss as its recipe samples, and
over the standard loss on the same RoIs, which is what the loss alone costs. Losses of one detector
take turns, and a ratio is of two iterations of one round: the median, and in brackets the
quartiles. On the CPU, seconds are CPU seconds of one thread. Memory is by how much an iteration
raises it at its peak: that of the process, or of the device as torch counts it. An iteration is
forward, backward and the optimiser's step on random images with seven objects each of 80 classes,
from fresh weights: all scores are close, and every negative meets every positive.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from iterations import (
    NUM_CLASSES,
    device_time,
    experiments,
    in_turn,
    loss_of,
    raised_memory,
    random_batch,
)
from rebalance.config.reading import merged
from rebalance.detectors import build_detector

UNSAMPLED = "standard, all RoIs"
ALL = {"sampler": {"name": "all"}}
LOSSES = {  # detector -> its ranking losses; the network is that of the first
    "retinanet": ("AP", "aLRP", "RS"),
    "atss": ("AP", "aLRP", "RS"),
    "paa": ("RS",),
    "foveabox": ("AP", "aLRP"),
    "faster_rcnn": ("AP", "aLRP", "RS"),
    "cascade_rcnn": ("RS",),
    "mask_rcnn": ("RS",),
    "yolact": ("RS",),
    "solov2_light": ("RS",),
}
NAMES = ("standard", UNSAMPLED, "AP", "aLRP", "RS")
OF_THE_LOSS = ("objective", "sampler", "max_masks")
OUTPUTS_OF_THE_LOSS = ("quality", "semantic")


def with_standard_loss(network: Mapping[str, Any], standard: Mapping[str, Any]) -> dict[str, Any]:
    """A ranking detector's settings with the losses of its standard form."""
    changes = {
        section: {key: standard[section][key] for key in OF_THE_LOSS if key in standard[section]}
        for section, settings in network.items()
        if "objective" in settings
    }
    heads = {
        head: {key: settings[key] for key in OUTPUTS_OF_THE_LOSS if key in settings}
        for head, settings in standard["heads"].items()
        if head in network["heads"]
    }
    plain = {head: {**network["heads"][head], **own} for head, own in heads.items()}
    return merged(network, {**changes, "heads": plain})


def without_sampler(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Two-stage settings in which all anchors and RoIs are trained on."""
    return merged(settings, {section: ALL for section in ("rpn", "box")})


def losses_of(detector: str, scale: str) -> dict[str, dict[str, Any]]:
    """Settings of a detector by loss, the standard one first."""
    of = experiments().detector_settings
    ranked = {loss: of(f"{loss.lower()}_{detector}", scale) for loss in LOSSES[detector]}
    plain = with_standard_loss(next(iter(ranked.values())), of(detector, scale))
    if "rpn" not in plain:
        return {"standard": plain, **ranked}
    return {"standard": plain, UNSAMPLED: without_sampler(plain), **ranked}


def iteration_of(settings: Mapping[str, Any], arguments: argparse.Namespace) -> Callable[[], None]:
    """An iteration of a detector with these settings."""
    backbone = experiments().scale(arguments.scale).backbones["resnet50"].model_dump()
    backbone.pop("weights", None)
    torch.manual_seed(0)
    detector = build_detector({"backbone": backbone, "detector": settings}, NUM_CLASSES)
    detector.to(arguments.device).train()
    trainable = [p for p in detector.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=1e-6, momentum=0.9)
    images, targets = random_batch(arguments.images, tuple(arguments.size), arguments.device)

    def iteration() -> None:
        with torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.amp):
            loss = loss_of(detector, images, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return iteration


def quartiles_of_ratio(times: list[float], base: list[float]) -> str:
    """Of the ratios of each round."""
    ratios = [own / other for own, other in zip(times, base, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f} - {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="shapes", help="of the networks")
    parser.add_argument("--size", type=int, nargs=2, default=[96, 96], help="height, width")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--detectors", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--losses", nargs="+", choices=NAMES, default=NAMES, help="and standard")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = device_time if arguments.device == "cuda" else time.process_time
    print("| detector | loss | s / iteration | x published recipe | x loss only | MiB |")
    print("|---|---|---|---|---|---|")
    for detector in arguments.detectors:
        every = losses_of(detector, arguments.scale)
        settings = {loss: every[loss] for loss in every if loss in {"standard", *arguments.losses}}
        iterations = {loss: iteration_of(of_loss, arguments) for loss, of_loss in settings.items()}
        seconds = in_turn(iterations, arguments.rounds, clock=clock)
        memory = {loss: raised_memory(run, arguments.device) for loss, run in iterations.items()}
        for loss, times in seconds.items():
            same = UNSAMPLED if UNSAMPLED in every and loss != "standard" else "standard"
            ratios = [
                quartiles_of_ratio(times, seconds[base]) if base in seconds else "–"
                for base in ("standard", same)
            ]
            print(
                f"| {detector} | {loss} | {statistics.median(times):.3f} "
                f"| {' | '.join(ratios)} | {memory[loss]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
