"""Detectors whose true metrics are known: matches drawn from a distribution, no boxes needed."""

import numpy as np
from numpy.typing import NDArray
from rebalance.metrics.matches import NO_OBJECT, Matches
from rebalance.metrics.precision_recall import COCO_THRESHOLDS
from scipy.special import ndtr

AREAS = 4


def simulate_pair(
    rng: np.random.Generator,
    num_images: int,
    num_classes: int = 1,
    objects_per_image: float = 3.0,
    recalls: tuple[float, float] = (0.7, 0.75),
    false_per_image: float = 2.0,
) -> list[Matches]:
    """Results of two detectors on the same images.

    An object is easy or hard, images too, so that the two find much the same; the second finds more
    and fits a little better. All objects are of one size (medium).
    """
    images = np.repeat(np.arange(num_images), rng.poisson(objects_per_image, num_images))
    classes = rng.integers(num_classes, size=len(images))
    order = np.lexsort((images, classes))
    images, classes = images[order], classes[order]
    difficulty = rng.normal(size=num_images)[images] + rng.normal(size=len(images))
    ease = ndtr(difficulty / np.sqrt(2))  # uniform
    return [
        _detect(rng, images, classes, ease, recall, false_per_image, num_images, num_classes)
        for recall in recalls
    ]


def _detect(
    rng: np.random.Generator,
    object_images: NDArray[np.int64],
    object_classes: NDArray[np.int64],
    ease: NDArray[np.float64],
    recall: float,
    false_per_image: float,
    num_images: int,
    num_classes: int,
) -> Matches:
    found = np.flatnonzero(0.7 * ease + 0.3 * rng.random(len(ease)) < recall)
    quality = 0.5 + 0.5 * rng.beta(2 + 2 * recall, 2, len(found)) * (1 - 0.4 * ease[found])
    num_false = rng.poisson(false_per_image * num_images)
    images = np.r_[object_images[found], rng.integers(num_images, size=num_false)]
    classes = np.r_[object_classes[found], rng.integers(num_classes, size=num_false)]
    scores = np.r_[rng.beta(4, 2, len(found)) * (1 - 0.5 * ease[found]), rng.beta(2, 5, num_false)]
    quality = np.r_[quality, np.zeros(num_false)]
    objects = np.r_[found, np.full(num_false, NO_OBJECT)]
    order = np.lexsort((-scores, classes))
    quality = quality[order]
    in_range = np.array([True, False, True, False])[:, None]
    true = in_range[:, None] & (quality >= COCO_THRESHOLDS[:, None])
    return Matches(
        iou_type="bbox",
        areas_of="boxes",
        max_dets=100,
        image_ids=np.arange(num_images),
        class_ids=np.arange(num_classes),
        class_names=np.arange(num_classes).astype(np.str_),
        images=images[order].astype(np.int32),
        classes=classes[order].astype(np.int32),
        scores=scores[order],
        true_positives=true,
        ignored=np.broadcast_to(~in_range[:, None], true.shape),
        quality=quality * in_range,
        objects=objects[order].astype(np.int32),
        object_ids=np.arange(len(object_images)),
        object_images=object_images.astype(np.int32),
        object_classes=object_classes.astype(np.int32),
        regular=np.broadcast_to(in_range, (AREAS, len(object_images))),
    )
