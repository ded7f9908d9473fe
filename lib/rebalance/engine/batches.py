"""Which images make up which batch, and how large they are, before any of them is read."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

import torch

from rebalance.detectors.canvas import CANVAS_MULTIPLE, Size, canvas_of
from rebalance.engine.seeds import keyed_rng


class BatchPlan(NamedTuple):
    """One batch, or one rank's part of it.

    Attributes:
        iteration: from 0.
        indices: positions in the dataset.
        canvas: (height, width) that every image of the global batch is padded to. It does not
            depend on the number of ranks, hence neither do the features near the borders.
    """

    iteration: int
    indices: tuple[int, ...]
    canvas: Size


def resized_size(size: Size, min_size: int, max_size: int) -> Size:
    """Size with the shorter side ``min_size``, unless the longer one would exceed ``max_size``."""
    scale = min(min_size / min(size), max_size / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def training_batches(
    sizes: Sequence[Size],
    batch_size: int,
    seed: int,
    start: int = 0,
    size_of: Callable[[int, int], Size] | None = None,
    step: int = CANVAS_MULTIPLE,
) -> Iterator[BatchPlan]:
    """Endless batches of images that are all wide or all high, from iteration ``start`` on.

    A pure function of its arguments. Each epoch is a new permutation of all images, split into wide
    and high ones; images that do not fill a batch wait for the next epoch, so none is left out and
    none is favoured.

    Args:
        sizes: (height, width) of each image after resizing; which are wide and which high.
        batch_size: images over all ranks.
        seed: of the run.
        start: iterations to skip.
        size_of: (index, iteration) -> size, where it is drawn anew in each iteration.
        step: sides of canvases are multiples of it.
    """
    drawn = size_of or (lambda index, iteration: sizes[index])
    wide = torch.tensor([width >= height for height, width in sizes])
    waiting: dict[bool, list[int]] = {True: [], False: []}
    iteration = 0
    for epoch in count():
        order = torch.randperm(len(sizes), generator=keyed_rng(seed, epoch, "order"))
        for index, is_wide in zip(order.tolist(), wide[order].tolist(), strict=True):
            group = waiting[is_wide]
            group.append(index)
            if len(group) < batch_size:
                continue
            if iteration >= start:
                canvas = canvas_of([drawn(member, iteration) for member in group], step)
                yield BatchPlan(iteration, tuple(group), canvas)
            iteration += 1
            group.clear()


def part_of_rank(plan: BatchPlan, rank: int, world_size: int) -> BatchPlan:
    """The images of one rank; the batch must divide evenly."""
    length = len(plan.indices) // world_size
    return plan._replace(indices=plan.indices[rank * length : (rank + 1) * length])


def prediction_batches(
    sizes: Sequence[Size], batch_size: int, step: int = CANVAS_MULTIPLE
) -> Iterator[BatchPlan]:
    """Every image once, with images of its own size only, so that no result depends on others."""
    groups: dict[Size, list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    iteration = 0
    for size, members in groups.items():
        for begin in range(0, len(members), batch_size):
            part = tuple(members[begin : begin + batch_size])
            yield BatchPlan(iteration, part, canvas_of([size], step))
            iteration += 1
