"""What the box and positive RoI generators draw (bbgen Figures 2 to 5, thesis 3.16)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rebalance.boxes import paired_iou
from rebalance.detectors.coders import DeltaCoder
from rebalance.figures.checks import Check, printed_claim
from rebalance.generators import generate_boxes, generate_positive_rois
from rebalance.generators.regions import feasible_region
from rebalance.generators.rois import IOU_PRESETS
from rebalance.samplers.statistics import REFERENCE_BOX

SEED = 0
REFERENCE = torch.tensor(REFERENCE_BOX, dtype=torch.float64)
"""The works do not print the box of their drawings; this one is that of Figure 6."""
ROI_SOURCES = {
    "base, T = 0.5": "base_0.5",
    "left skew": "left_skew",
    "uniform": "uniform",
    "right skew": "right_skew",
}
ROIS_PER_SOURCE = 100_000
LIMITS = (0.5, 0.6, 0.7, 0.8, 0.9)
CORNERS_DRAWN = 2500
NUM_CLASSES = 80


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def generated(num: int, min_iou: float, order: str = "random") -> Tensor:
    """[num, 4] boxes around REFERENCE."""
    return generate_boxes(REFERENCE.repeat(num, 1), min_iou, _rng(), order)


def two_steps(min_iou: float = 0.5) -> dict[str, Tensor]:
    """One box drawn top-left corner first: ``box`` [4], boundaries ``first``, ``second`` [n, 2]."""
    box = generated(1, min_iou, "top_left")[0]
    return {
        "box": box,
        "first": feasible_region(REFERENCE, min_iou, "top_left"),
        "second": feasible_region(REFERENCE, min_iou, "bottom_right", box[:2]),
    }


def _ious(boxes: Tensor) -> Tensor:
    return paired_iou(boxes, REFERENCE)


def two_step_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """bbgen Figure 2: the box reaches T; the printed IoU is one draw of chance."""
    box = two_steps()["box"]
    iou = float(_ious(box))
    printed = numbers.get("iou_of_the_drawn_box", numbers.get("generated_box_iou"))
    ious = _ious(generated(20_000, 0.5, "top_left"))
    near = float(((ious - printed).abs() < 0.01).double().mean())
    return [
        printed_claim("the generated box has an IoU of at least 0.5", iou >= 0.5, f"{iou:.4f}"),
        printed_claim(
            f"an IoU like the printed {printed} is a common draw", near > 0.02,
            f"{100 * near:.0f} % of draws are within 0.01 of it",
        ),
    ]  # fmt: skip


def thousand_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """bbgen Figure 3: all IoUs reach T, and neither corner is favoured."""
    ious = _ious(generated(1000, 0.6))
    least = numbers.get("min_iou", numbers.get("all_iou_at_least"))
    boxes = generated(50_000, 0.6)
    moves = (boxes - REFERENCE) * torch.tensor([-1, -1, 1, 1])
    spread = moves.abs().mean(0)
    return [
        printed_claim(f"all 1,000 boxes have an IoU of at least {least}",
                      bool((ious >= least).all()), f"smallest {float(ious.min()):.4f}"),
        printed_claim("corners move alike when the order of drawing is random",
                      float(spread.max() / spread.min()) < 1.03,
                      f"largest by smallest mean move {float(spread.max() / spread.min()):.3f}"),
    ]  # fmt: skip


def region_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """bbgen Figure 4: how far the region of T = 0.75 reaches, in sides of the box."""
    size = REFERENCE[2:] - REFERENCE[:2]
    outline = (feasible_region(REFERENCE, 0.75, "top_left") - REFERENCE[:2]) / size
    return [
        printed_claim("outwards it reaches 1/T - 1 of a side",
                      math.isclose(-float(outline.min()), 1 / 0.75 - 1, rel_tol=1e-6),
                      f"{-float(outline.min()):.4f}"),
        printed_claim("inwards it reaches 1 - T of a side",
                      math.isclose(float(outline.max()), 0.25, rel_tol=1e-6),
                      f"{float(outline.max()):.4f}"),
        printed_claim(
            "the IoU is T along the whole boundary",
            bool(torch.allclose(
                _ious(torch.cat([feasible_region(REFERENCE, 0.75, "top_left"),
                                 REFERENCE[2:].expand(len(outline), 2)], dim=1)),
                torch.tensor(0.75, dtype=torch.float64))),
        ),
    ]  # fmt: skip


def roi_source_ious() -> dict[str, Tensor]:
    """Source -> [100000] IoUs of RoIs around one ground truth that the image border is far from."""
    truth = torch.tensor([[1000.0, 1000.0, 1400.0, 1300.0]])
    label = torch.ones(1, dtype=torch.int64)
    return {
        name: generate_positive_rois(
            truth, label, ROIS_PER_SOURCE, *IOU_PRESETS[preset], (3000, 3000), rng=_rng()
        ).ious
        for name, preset in ROI_SOURCES.items()
    }


def iou_shares(ious: Tensor) -> list[float]:
    """Shares of the five bins of width 0.1 from 0.5 to 1."""
    counts = torch.histc(ious, bins=5, min=0.5, max=1.0)
    return (counts / counts.sum()).tolist()


def shares_in_words(shares: Sequence[float]) -> str:
    """Those of ``iou_shares``: ``IoU 0.5 to 0.6: 89.8%, 0.6 to 0.7: 8.5%, ...``."""
    bins = (f"0.{k} to {0.1 * (k + 1):.1f}" for k in range(5, 10))
    return "IoU " + ", ".join(
        f"{of}: {100 * share:.1f}%" for of, share in zip(bins, shares, strict=True)
    )


def roi_source_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """bbgen Figure 5: the shape of the four generated sources; the RPN's needs a training."""
    shares = {name: iou_shares(ious) for name, ious in roi_source_ious().items()}
    base, uniform = shares["base, T = 0.5"], shares["uniform"]
    text = {name: shares_in_words(values) for name, values in shares.items()}
    return [
        printed_claim("with T = 0.5 boxes above 0.9 are far rarer than those below 0.6",
                      base[4] < 0.01 * base[0], text["base, T = 0.5"]),
        printed_claim("the balanced weights make the IoU nearly uniform",
                      max(uniform) - min(uniform) < 0.06, text["uniform"]),
        printed_claim("right skew has most boxes at high IoU",
                      shares["right skew"] == sorted(shares["right skew"]), text["right skew"]),
        printed_claim("left skew has most boxes at low IoU",
                      shares["left skew"] == sorted(shares["left skew"], reverse=True),
                      text["left skew"]),
        printed_claim("RoIs of the RPN are concentrated near 0.5, too, but less so", None,
                      note="needs a trained detector; the page with one has them"),
    ]  # fmt: skip


def corners_drawn() -> Tensor:
    """[2500, 2] top-left corners of boxes generated with T = 0.5, in place of the RPN's."""
    return generated(CORNERS_DRAWN, 0.5)[:, :2]


def initial_losses() -> dict[str, Tensor]:
    """32 RoIs on three objects, before any training.

    Returns:
        truths [3, 4], rois [32, 4], regression [32] smooth L1 summed over the four targets (box
        coder weights 10, 10, 5, 5; the untrained prediction is 0).
    """
    truths = torch.tensor([[60.0, 80, 220, 400], [260, 150, 420, 300], [450, 60, 600, 260]])
    rois = generate_positive_rois(
        truths, torch.tensor([1, 2, 3]), 32, *IOU_PRESETS["uniform"], (480, 640), rng=_rng()
    )
    coder = DeltaCoder((10.0, 10.0, 5.0, 5.0))
    targets = coder.encode(truths[rois.gt_idxs], rois.boxes)
    losses = F.smooth_l1_loss(targets, torch.zeros_like(targets), reduction="none").sum(1)
    return {"truths": truths, "rois": rois.boxes, "regression": losses}


def initial_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.16: classification weighs more than regression before training."""
    made = initial_losses()
    mean, outputs = float(made["regression"].mean()), numbers["classes"] + 1
    return [
        printed_claim(
            "the classification loss is larger",
            math.log(outputs) > mean,
            f"ln {outputs} = {math.log(outputs):.2f} against {mean:.2f}",
            "of our RoIs, and with background as a class",
        ),
    ]  # fmt: skip
