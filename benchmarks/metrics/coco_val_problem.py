"""A generated evaluation problem of the size of COCO val 2017."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_IMAGES = 5_000
NUM_GROUND_TRUTHS = 36_000
NUM_CLASSES = 80
NUM_DETECTIONS = 500_000
WIDTH, HEIGHT = 640, 480


def make_problem(
    seed: int = 0,
    num_images: int = NUM_IMAGES,
    num_ground_truths: int = NUM_GROUND_TRUTHS,
    num_classes: int = NUM_CLASSES,
    num_detections: int = NUM_DETECTIONS,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO ground truth and results that resemble a detector's raw output.

    Class frequencies fall off as in COCO (the first class has a third of all objects) and every
    image has about 100 detections: a few jittered copies of each object, the rest elsewhere, most
    of those in classes that the image has.
    """
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, num_classes + 1)
    images = np.sort(rng.integers(num_images, size=num_ground_truths))
    classes = rng.choice(num_classes, num_ground_truths, p=frequency / frequency.sum())
    boxes = _random_boxes(rng, num_ground_truths)
    ground_truth = {
        "images": [
            {"id": i + 1, "width": WIDTH, "height": HEIGHT, "file_name": f"{i + 1:012d}.jpg"}
            for i in range(num_images)
        ],
        "categories": [{"id": k + 1, "name": f"class {k + 1}"} for k in range(num_classes)],
        "annotations": [
            {
                "id": n + 1,
                "image_id": int(image) + 1,
                "category_id": int(label) + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(n % 80 == 0),
            }
            for n, (image, label, box) in enumerate(
                zip(images, classes, boxes.round(2).tolist(), strict=True)
            )
        ],
    }
    source = rng.integers(num_ground_truths, size=num_detections)
    jittered = rng.random(num_detections) < 0.4
    jitter = rng.normal(size=(num_detections, 4)) * rng.exponential(0.1, (num_detections, 1))
    size = np.tile(boxes[source, 2:], 2)
    detected = np.where(
        jittered[:, None], boxes[source] + jitter * size, _random_boxes(rng, num_detections)
    )
    detected[:, 2:] = np.maximum(detected[:, 2:], 1)
    own_class = rng.random(num_detections) < 0.7
    labels = np.where(own_class, classes[source], rng.integers(num_classes, size=num_detections))
    scores = np.where(jittered, rng.beta(2, 3, num_detections), rng.beta(1, 8, num_detections))
    results = [
        {"image_id": image, "category_id": label, "bbox": box, "score": score}
        for image, label, box, score in zip(
            (images[source] + 1).tolist(),
            (labels + 1).tolist(),
            detected.round(2).tolist(),
            scores.round(5).tolist(),
            strict=True,
        )
    ]
    return ground_truth, results


def write_problem(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """The problem as gt.json and dt.json."""
    paths = folder / "gt.json", folder / "dt.json"
    for path, content in zip(paths, make_problem(seed), strict=True):
        path.write_text(json.dumps(content))
    return paths


def _random_boxes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """[N, 4] x, y, width, height; sides log-uniform from 8 to 400 pixels."""
    sides = np.exp(rng.uniform(np.log(8), np.log(400), (count, 2)))
    corner = rng.random((count, 2)) * np.maximum(np.array([WIDTH, HEIGHT]) - sides, 1)
    return np.concatenate([corner, sides], axis=1)


if __name__ == "__main__":
    write_problem(Path(sys.argv[1]))
