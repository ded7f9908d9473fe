"""The online video detector of thesis H.1, on the detections of a still-image detector.

From frame to frame: detections that score at least their class's threshold are linked to the
objects of the last frame by the Hungarian algorithm. What a link costs is how far the two
distributions of scores over the classes are apart (L1 norm) plus one minus the IoU of the detection
and the tracker's box. A linked detection gets the score that Bayes' rule gives,

    s' = p s / (p s + (1 - p) (1 - s)),

the prior p being the updated score of the object, the likelihood s that of the detection. An object
whose score such an update raises by 0.20 or more is dominant: where it is not found, it is searched
for again where the tracker expects it.

Readings, where the work leaves the form open: only detections of the object's class are linked, and
only those that overlap the tracker's box; the distribution of a detection has for each class the
best score of the frame's detections that overlap it by half; the class-wise classifiers of the
second search are those of the detector, whose sigmoid scores tell one class from the background:
its best detection of that class, below the threshold too, that overlaps the tracker's box by half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rebalance.errors import InputError
from rebalance.video.tracking import ConstantVelocity

Numbers = NDArray[np.float64]
SATURATED = 1e-6
"""How near scores come to 0 and 1: from there Bayes' rule could not move them."""
FORBIDDEN = 1e6
"""Cost of a link that is none."""


@dataclass(frozen=True)
class Linking:
    """Settings of the video detector.

    Attributes:
        threshold: of classes that ``thresholds`` does not name; the thesis's G has 0.5.
        thresholds: category id -> threshold of its own; the thesis's S has the LRP-optimal ones.
        dominant_gain: by which an update raises the score of a dominant object.
        overlap: IoU that a second search needs, and detections of one distribution.
    """

    threshold: float = 0.5
    thresholds: Mapping[int, float] | None = None
    dominant_gain: float = 0.20
    overlap: float = 0.5

    def of(self, category: int) -> float:
        """The threshold of a class."""
        return (self.thresholds or {}).get(category, self.threshold)


@dataclass
class _Tubelet:
    """An object that was found in the last frame."""

    category: int
    score: float
    distribution: Numbers
    tracker: ConstantVelocity
    dominant: bool = False


def bayes_update(prior: float, likelihood: float) -> float:
    """Probability of an object, of its probability before and the score of what is seen now."""
    prior, likelihood = (float(np.clip(p, SATURATED, 1 - SATURATED)) for p in (prior, likelihood))
    both = prior * likelihood
    return both / (both + (1 - prior) * (1 - likelihood))


def link_detections(
    images: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], settings: Linking
) -> list[dict[str, Any]]:
    """Detections of videos, thresholded, linked and scored anew.

    Args:
        images: of the annotations: ``id``, ``video_id`` and ``frame``, in which frames are ordered.
        results: COCO results of the frames.
        settings: thresholds and the like.

    Returns:
        COCO results, by video and frame.

    Raises:
        InputError: an image that is of no video, or a result of an image that is not listed.
    """
    for index, image in enumerate(images):
        for key in ("id", "video_id", "frame"):
            if key not in image:
                raise InputError(f"images[{index}]: has no {key}; it must be a frame of a video")
    by_image: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in images}
    for index, result in enumerate(results):
        if result["image_id"] not in by_image:
            raise InputError(f"results[{index}].image_id: {result['image_id']} is no image")
        by_image[result["image_id"]].append(result)
    classes = sorted({int(result["category_id"]) for result in results})
    linked: list[dict[str, Any]] = []
    tubelets: list[_Tubelet] = []
    video = None
    for image in sorted(images, key=lambda image: (image["video_id"], image["frame"])):
        if image["video_id"] != video:
            tubelets, video = [], image["video_id"]
        frame = _Frame.of(by_image[image["id"]], classes)
        found, tubelets = _link_frame(frame, tubelets, settings)
        linked += [
            {
                "image_id": image["id"],
                "category_id": category,
                "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                "score": score,
            }
            for category, box, score in found
        ]
    return linked


@dataclass(frozen=True)
class _Frame:
    """Detections of one frame, the best first.

    Attributes:
        boxes: float64 [D, 4] xyxy.
        scores: float64 [D].
        categories: int64 [D].
        ious: float64 [D, D].
        classes: all category ids.
    """

    boxes: Numbers
    scores: Numbers
    categories: NDArray[np.int64]
    ious: Numbers
    classes: Sequence[int]

    @classmethod
    def of(cls, results: Sequence[Mapping[str, Any]], classes: Sequence[int]) -> "_Frame":
        ordered = sorted(results, key=lambda result: -result["score"])
        boxes = np.array([result["bbox"] for result in ordered], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return cls(
            boxes,
            np.array([result["score"] for result in ordered], np.float64),
            np.array([result["category_id"] for result in ordered], np.int64),
            pairwise_iou(boxes, boxes),
            classes,
        )

    def distribution(self, index: int, overlap: float) -> Numbers:
        """Best score of each class among the detections that overlap one, float64 [K]."""
        near = self.ious[index] >= overlap
        near[index] = True
        return np.array([
            self.scores[near & (self.categories == category)].max(initial=0)
            for category in self.classes
        ])  # fmt: skip


def _link_frame(
    frame: _Frame, tubelets: list[_Tubelet], settings: Linking
) -> tuple[list[tuple[int, Numbers, float]], list[_Tubelet]]:
    """What is found in a frame (category, box, score), and the objects to link the next one to."""
    limits = np.array([settings.of(int(category)) for category in frame.categories])
    kept = np.flatnonzero(frame.scores >= limits)
    distributions = [frame.distribution(int(index), settings.overlap) for index in kept]
    expected = [tubelet.tracker.predict() for tubelet in tubelets]
    overlaps = pairwise_iou(np.array(expected).reshape(-1, 4), frame.boxes)
    costs = np.full((len(tubelets), len(kept)), FORBIDDEN)
    for row, tubelet in enumerate(tubelets):
        for column, index in enumerate(kept):
            iou = overlaps[row, index]
            if iou > 0 and frame.categories[index] == tubelet.category:
                apart = np.abs(tubelet.distribution - distributions[column]).sum()
                costs[row, column] = apart + 1 - iou
    links = {
        int(column): int(row)
        for row, column in zip(*linear_sum_assignment(costs), strict=True)
        if costs[row, column] < FORBIDDEN
    }
    found, after = [], []
    for column, index in enumerate(kept):
        category, score = int(frame.categories[index]), float(frame.scores[index])
        box, distribution = frame.boxes[index], distributions[column]
        tubelet = _Tubelet(category, score, distribution, ConstantVelocity.at(box))
        if column in links:
            tubelet = tubelets[links[column]]
            _update(tubelet, box, score, distribution, settings)
        found.append((category, box, tubelet.score))
        after.append(tubelet)
    for row in sorted(set(range(len(tubelets))) - set(links.values())):
        tubelet = tubelets[row]
        again = np.flatnonzero(
            (frame.categories == tubelet.category) & (overlaps[row] >= settings.overlap)
        )
        again = np.setdiff1d(again, kept)
        if tubelet.dominant and len(again):
            best = int(again[0])  # detections are in order of score
            distribution = frame.distribution(best, settings.overlap)
            box, score = frame.boxes[best], float(frame.scores[best])
            _update(tubelet, box, score, distribution, settings)
            found.append((tubelet.category, box, tubelet.score))
            after.append(tubelet)
    return found, after


def _update(
    tubelet: _Tubelet, box: Numbers, score: float, distribution: Numbers, settings: Linking
) -> None:
    updated = bayes_update(tubelet.score, score)
    tubelet.dominant |= updated - score >= settings.dominant_gain
    tubelet.score, tubelet.distribution = updated, distribution
    tubelet.tracker.update(box)


def pairwise_iou(boxes1: Numbers, boxes2: Numbers) -> Numbers:
    """IoU of float64 [N, 4] and [M, 4] xyxy, [N, M]; boxes without area overlap nothing."""
    low = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (boxes1, boxes2))
    area1, area2 = areas
    union = area1[:, None] + area2[None] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
