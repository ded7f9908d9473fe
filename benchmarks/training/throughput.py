"""Training throughput beside torchvision's reference models, same settings, in turn.

``python benchmarks/training/throughput.py [--size 800 1333] [--images 4] [--precision bf16]``
prints a table: images per second of ours and theirs, their ratio, and on CUDA peak memory and how
often an iteration waits for the device. ResNet-50 FPN, frozen batch norm, stem and first stage
frozen, one device, random images with seven objects each; the median of the rounds, taken in turn.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from iterations import (
    NUM_CLASSES,
    device_time,
    experiments,
    in_turn,
    loss_of,
    random_batch,
)
from rebalance.detectors import build_detector
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7


def ours(name: str) -> nn.Module:
    """A detector of config/detectors.yaml."""
    backbone = {"name": "resnet", "depth": 50, "norm": "frozen_batch", "frozen_stages": 1}
    settings = {"backbone": backbone, "detector": experiments().detector_settings(name)}
    return build_detector(settings, NUM_CLASSES)


def theirs(name: str, size: tuple[int, int]) -> nn.Module:
    """torchvision's, which leaves images of this size as they are."""
    limits = {"min_size": min(size), "max_size": max(size)}
    extra: dict[str, Any] = {"weights": None, "norm_layer": FrozenBatchNorm2d}
    if name == "retinanet":
        body = resnet_fpn_backbone(
            backbone_name="resnet50",
            returned_layers=[2, 3, 4],
            extra_blocks=LastLevelP6P7(256, 256),
            trainable_layers=3,
            **extra,
        )
        return RetinaNet(body, NUM_CLASSES + 1, **limits)
    body = resnet_fpn_backbone(backbone_name="resnet50", trainable_layers=3, **extra)
    return FasterRCNN(body, NUM_CLASSES + 1, rpn_post_nms_top_n_train=1000, **limits)


def losses_of(model: nn.Module, images: Tensor, targets: list[dict[str, Any]]) -> Tensor:
    if isinstance(model, RetinaNet | FasterRCNN):
        height, width = targets[0]["image_size"]
        boxes = [{name: target[name] for name in ("boxes", "labels")} for target in targets]
        found = model([image[:, :height, :width] for image in images], boxes)
        return torch.stack(list(found.values())).sum()
    return loss_of(model, images, targets)


def one_iteration(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: list[dict[str, Any]],
    dtype: torch.dtype | None,
) -> None:
    with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
        loss = losses_of(model, images, targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def waits_of(run: Callable[[], None]) -> int:
    """How often CUDA's synchronisation warnings come up."""
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=[800, 1333])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--channels-last", action="store_true", help="of ours")
    parser.add_argument("--compile", action="store_true", help="backbone and neck of ours")
    parser.add_argument("--detectors", nargs="+", default=["retinanet", "faster_rcnn"])
    arguments = parser.parse_args()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    dtype = torch.bfloat16 if arguments.precision == "bf16" else None
    images, targets = random_batch(arguments.images, tuple(arguments.size), device)
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    print("detector     whose        images/s  ratio  peak MiB  waits")
    for name in arguments.detectors:
        models = {"ours": ours(name), "torchvision": theirs(name, tuple(arguments.size))}
        layouts = {"ours": layout, "torchvision": torch.contiguous_format}
        peaks, waits, runs = {}, {}, {}
        for whose, model in models.items():
            model.to(device, memory_format=layouts[whose]).train()
            if arguments.compile and whose == "ours":
                model.backbone.compile()
                model.neck.compile()
            trainable = [p for p in model.parameters() if p.requires_grad]
            optimizer = torch.optim.SGD(trainable, lr=1e-5, momentum=0.9, fused=cuda)
            own = images.contiguous(memory_format=layouts[whose])

            def run(model=model, optimizer=optimizer, own=own) -> None:
                one_iteration(model, optimizer, own, targets, dtype)

            runs[whose] = run
            for _ in range(3):
                run()
            if cuda:
                torch.cuda.reset_peak_memory_stats()
                run()
                peaks[whose] = torch.cuda.max_memory_allocated() / 2**20
                waits[whose] = waits_of(run)
        clock = device_time if cuda else time.process_time
        seconds = in_turn(runs, arguments.rounds, warm_up=0, clock=clock)
        speed = {w: arguments.images / statistics.median(s) for w, s in seconds.items()}
        for whose in models:
            ratio = speed[whose] / speed["torchvision"]
            memory = f"{peaks[whose]:9.0f} {waits[whose]:6d}" if cuda else ""
            print(f"{name:12} {whose:12} {speed[whose]:8.2f} {ratio:6.2f} {memory}")


if __name__ == "__main__":
    main()
