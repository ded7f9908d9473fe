"""Probabilistic anchor assignment (Kim and Lee, ECCV 2020, section 3.2 and Algorithm 1)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rebalance.assigners.assignment import NEGATIVE, Assignment
from rebalance.assigners.max_iou import assign_max_iou
from rebalance.assigners.scene import check_level_sizes, finish_assignment
from rebalance.errors import InputError

# Expectation maximisation as in the authors' code (scikit-learn's defaults): stop when the mean log
# likelihood changes by less, at the latest after so many rounds; added to every variance.
TOLERANCE, MAX_ROUNDS, VARIANCE_FLOOR = 1e-3, 100, 1e-6
LONE = ("positive", "negative")


def assign_paa(
    boxes: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    *,
    ignored_boxes: Tensor | None = None,
    level_sizes: Sequence[int] | None = None,
    costs: Callable[[Assignment], Tensor] | None = None,
    image_size: tuple[int, int] | None = None,
    image: int | str | None = None,
    validate: bool = True,
    candidate_iou: float = 0.1,
    top_k: int = 9,
    contested: str = "strongest",
    lone: str = "positive",
    ignore_iof: float = 0.5,
) -> Assignment:
    """Positives by their loss: the lower mode of a mixture of two Gaussians for each ground truth.

    The candidates of a ground truth are the boxes that overlap it most and by ``candidate_iou`` or
    more (or most of all boxes), of these the ``top_k`` of smallest loss on each level. A mixture is
    fitted to their losses; positive are those of the component that starts at the smallest loss,
    up to the most likely one of them (Fig. 3c). All other boxes are negative.

    Args:
        boxes: [N, 4] xyxy, pixels, anchors, level after level.
        gt_boxes: [G, 4] xyxy.
        gt_labels: [G] int64, 1 ... C.
        ignored_boxes: [K, 4] crowd regions; negatives inside one are ignored.
        level_sizes: number of boxes of each level, adding up to N; None: one level.
        costs: given an assignment, the loss [N] of each box for its ground truth (classification
            plus localisation); read for the candidates only.
        image_size: not used by this assigner.
        image: how messages name the image.
        validate: check the boxes, which waits for the device.
        candidate_iou: least IoU of a candidate.
        top_k: candidates per level.
        contested: who gets a box that is the best of several ground truths, see ``assign_max_iou``.
        lone: what the only candidate of a ground truth is, to which no mixture can be fitted:
            "positive", so that the object is learnt, or "negative" (mmdetection).
        ignore_iof: share of its area inside an ignored region from which a negative is ignored.

    Raises:
        InputError: no costs, or not one per box; a nan, infinite or inverted box (image and box are
            named); a wrong shape.
        TypeError: boxes that are not floating point, labels that are not int64.
    """
    if lone not in LONE:
        raise InputError(f"lone must be one of {LONE}, got {lone!r}")
    if costs is None:
        raise InputError("assigner 'paa' needs costs, the loss of each box for its ground truth")
    sizes = check_level_sizes(boxes, level_sizes)
    first = assign_max_iou(
        boxes,
        gt_boxes,
        gt_labels,
        image=image,
        validate=validate,
        positive_iou=candidate_iou,
        negative_iou=candidate_iou,
        contested=contested,
    )
    if len(boxes) == 0 or len(gt_boxes) == 0:
        return finish_assignment(
            first.gt_idxs, first.overlaps, boxes, gt_labels, ignored_boxes, ignore_iof
        )
    losses = costs(first).detach().double()
    if losses.shape != first.gt_idxs.shape:
        raise InputError(
            f"costs must hold one value per box, {list(first.gt_idxs.shape)}, "
            f"got {list(losses.shape)}"
        )
    candidates, their_losses = _cheapest(first.gt_idxs, losses, sizes, len(gt_boxes), top_k)
    positive = _lower_mode(their_losses, lone == "positive")
    # Each candidate belongs to one ground truth, so no box is written twice; boxes that only fill
    # up the table are not positive and write NEGATIVE to a place past the end.
    gt_idxs = torch.full((len(boxes) + 1,), NEGATIVE, dtype=torch.int64, device=boxes.device)
    rows = torch.arange(len(gt_boxes), device=boxes.device)[:, None].expand_as(candidates)
    gt_idxs.scatter_(
        0,
        torch.where(positive, candidates, len(boxes)).flatten(),
        torch.where(positive, rows, NEGATIVE).flatten(),
    )
    return finish_assignment(
        gt_idxs[:-1], first.overlaps, boxes, gt_labels, ignored_boxes, ignore_iof
    )


def _cheapest(
    gt_idxs: Tensor, losses: Tensor, sizes: list[int], num_gts: int, top_k: int
) -> tuple[Tensor, Tensor]:
    """[G, K] candidates by ascending loss and their losses, inf where there are fewer."""
    gts = torch.arange(num_gts, device=losses.device)
    found, found_losses, start = [], [], 0
    for size, level_gts, level_losses in zip(
        sizes, gt_idxs.split(sizes), losses.split(sizes), strict=True
    ):
        table = torch.where(level_gts == gts[:, None], level_losses, torch.inf)
        values, positions = table.topk(min(top_k, size), dim=1, largest=False)
        found.append(positions + start)
        found_losses.append(values)
        start += size
    ordered, order = torch.cat(found_losses, dim=1).sort(dim=1, stable=True)
    return torch.cat(found, dim=1).gather(1, order), ordered


def _lower_mode(losses: Tensor, lone: bool) -> Tensor:
    """[G, K] bool: the candidates of the lower mode, up to the most likely one.

    Args:
        losses: [G, K] ascending, inf past the last candidate.
        lone: the answer for a candidate without others.
    """
    present = losses.isfinite()
    counts = present.sum(dim=1)
    values = torch.where(present, losses, 0.0)
    weights = present.double() / counts.clamp(min=1)[:, None]  # of the mean over candidates
    highest = torch.where(present, losses, -torch.inf).amax(dim=1)
    means = torch.stack([losses[:, 0], highest], dim=1).nan_to_num(0.0, 0.0, 0.0)
    shares = torch.full_like(means, 0.5)
    variances = torch.ones_like(means)
    previous = torch.full_like(highest, -torch.inf)
    done = counts < 2
    for _ in range(MAX_ROUNDS):
        joint = _log_joint(values, means, variances, shares)
        likelihood = joint.logsumexp(dim=2)
        responsibility = (joint - likelihood[..., None]).exp() * present[..., None]
        masses = responsibility.sum(dim=1) + 10 * torch.finfo(torch.float64).eps
        new_means = (responsibility * values[..., None]).sum(dim=1) / masses
        deviation = (values[..., None] - new_means[:, None]).square()
        new_variances = (responsibility * deviation).sum(dim=1) / masses + VARIANCE_FLOOR
        keep = done[:, None]
        means = torch.where(keep, means, new_means)
        variances = torch.where(keep, variances, new_variances)
        shares = torch.where(keep, shares, masses / masses.sum(dim=1, keepdim=True))
        mean_likelihood = (likelihood * weights).sum(dim=1)
        done = done | ((mean_likelihood - previous).abs() < TOLERANCE)
        previous = mean_likelihood
        if bool(done.all()):
            break
    joint = _log_joint(values, means, variances, shares)
    lower = (joint[..., 0] >= joint[..., 1]) & present
    likelihood = torch.where(lower, joint.logsumexp(dim=2), -torch.inf)
    places = torch.arange(losses.shape[1], device=losses.device)
    up_to_peak = places <= likelihood.argmax(dim=1, keepdim=True)
    return torch.where((counts < 2)[:, None], present & lone, lower & up_to_peak)


def _log_joint(values: Tensor, means: Tensor, variances: Tensor, shares: Tensor) -> Tensor:
    """[G, K, 2] log of share times density of each component."""
    deviation = (values[..., None] - means[:, None]).square() / variances[:, None]
    return shares.log()[:, None] - (deviation + (2 * torch.pi * variances).log()[:, None]) / 2
