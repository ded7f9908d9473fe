"""Keypoints of a COCO file and their object keypoint similarity (OKS)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.metrics.records import Record, check_each, column

# Per-keypoint standard deviations of the 17 COCO person keypoints, relative to object scale.
# fmt: off
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035,  # nose, eyes, ears
    0.079, 0.079, 0.072, 0.072, 0.062, 0.062,  # shoulders, elbows, wrists
    0.107, 0.107, 0.087, 0.087, 0.089, 0.089,  # hips, knees, ankles
)
# fmt: on


def read_keypoints(
    name: str, records: Sequence[Record], num_keypoints: int | None = None
) -> NDArray[np.float64]:
    """float64 [N, P, 3] x, y, visibility (a score, in results).

    Args:
        name: what to call the records in messages.
        records: N annotations or results with ``keypoints`` [x, y, v, x, y, v, ...].
        num_keypoints: P; None takes the first record's.
    """
    values = column(name, records, "keypoints")
    if num_keypoints is None:
        num_keypoints = len(values[0]) // 3 if values and isinstance(values[0], list) else 0
    if not values:
        return np.zeros((0, num_keypoints, 3))
    length = 3 * num_keypoints

    def accept(value: object) -> bool:
        return isinstance(value, list) and len(value) == length and _all_finite(value)

    check_each(name, records, "keypoints", accept, f"{length} finite numbers [x, y, v, ...]")
    return np.asarray(values, dtype=np.float64).reshape(-1, num_keypoints, 3)


def keypoint_boxes(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [N, 4] COCO ``x, y, width, height`` around all keypoints, labelled or not."""
    if not keypoints.size:
        return np.zeros((len(keypoints), 4))
    low, high = keypoints[:, :, :2].min(axis=1), keypoints[:, :, :2].max(axis=1)
    return np.concatenate([low, high - low], axis=1)


def check_sigmas(sigmas: Sequence[float] | None, num_keypoints: int) -> NDArray[np.float64]:
    """float64 [P]; COCO's for 17 keypoints, to be given for any other number."""
    values = np.asarray(COCO_SIGMAS if sigmas is None else sigmas, dtype=np.float64)
    if values.shape != (num_keypoints,) or not (values > 0).all():
        raise InputError(
            f"sigmas must be {num_keypoints} positive numbers, one per keypoint, got {len(values)}"
        )
    return values


def paired_oks(
    detected: NDArray[np.float64],
    annotated: NDArray[np.float64],
    boxes: NDArray[np.float64],
    areas: NDArray[np.float64],
    sigmas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Object keypoint similarity of rows paired one by one, in [0, 1].

    An object without a labelled keypoint (always ignored) is measured by how far each detected
    keypoint lies outside its box grown to three times the size, as in pycocotools.

    Args:
        detected, annotated: float64 [N, P, 3].
        boxes: float64 [N, 4] xyxy of the annotated objects.
        areas: float64 [N] px^2 of the annotated objects.
        sigmas: float64 [P].
    """
    labelled = np.asarray(annotated[:, :, 2] > 0)
    offset = detected[:, :, :2] - annotated[:, :, :2]
    size = boxes[:, 2:] - boxes[:, :2]
    low, high = (boxes[:, :2] - size)[:, None], (boxes[:, 2:] + size)[:, None]
    outside = np.maximum(0, low - detected[:, :, :2]) + np.maximum(0, detected[:, :, :2] - high)
    any_labelled = np.asarray(labelled.any(axis=1))
    distance = np.where(any_labelled[:, None, None], offset, outside)
    squared = (distance**2).sum(axis=2)
    error = squared / (2 * sigmas) ** 2 / (areas[:, None] + np.spacing(1)) / 2
    counted = labelled | ~any_labelled[:, None]
    return (np.exp(-error) * counted).sum(axis=1) / counted.sum(axis=1)


def _all_finite(values: list[object]) -> bool:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    return numbers and bool(np.isfinite(np.asarray(values, dtype=np.float64)).all())
