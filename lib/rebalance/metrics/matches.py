"""What one matching leaves behind, small enough to keep: everything that resampling images needs.

AP and LRP of any resample of the images can be read off these arrays, so a detections file is
matched once however often its metrics are wanted (:mod:`rebalance.metrics.bootstrap`).
``rebalance evaluate --matches`` writes them as an .npz beside the metrics: 5 MB for 500,000
detections.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.metrics.evaluation import AREAS_OF_TYPE, ClassMatches, Evaluation
from rebalance.metrics.precision_recall import COCO_THRESHOLDS

TAU = 0.5
"""The quality that a true positive of LRP, and a found object, needs."""
NO_OBJECT = -1
FORMAT = 1
_FLAGS = ("true_positives", "ignored", "regular")
_TEXTS = ("iou_type", "areas_of", "ground_truth", "detections")
_NUMBERS = ("max_dets",)


@dataclass(frozen=True)
class Matches:
    """Detections of all classes and what they matched; ranges and thresholds are COCO's.

    Detections are in order of class, then of falling score, objects in order of class and image.
    A, the area ranges, are ``AREAS_OF_TYPE[iou_type]``; T are ``COCO_THRESHOLDS``.

    Attributes:
        iou_type: "bbox", "segm" or "keypoints".
        areas_of: what decides small, medium, large: "boxes" or "masks".
        max_dets: detections that count per class and image.
        image_ids: int64 [I], ascending.
        class_ids: int64 [K], ascending.
        class_names: str [K].
        images: int32 [D], position in ``image_ids``.
        classes: int32 [D], position in ``class_ids``.
        scores: float64 [D].
        true_positives: bool [A, T, D].
        ignored: bool [A, T, D], neither true nor false positives.
        quality: float64 [A, D], of the match at ``TAU``, 0 without one.
        objects: int32 [D], position of the object matched at ``TAU``, all sizes, or NO_OBJECT.
        object_ids: int64 [G], ids of the annotations.
        object_images, object_classes: int32 [G], as above.
        regular: bool [A, G], objects that count in the range.
        ground_truth, detections: SHA-256 of the files, empty if they were no files.
    """

    iou_type: str
    areas_of: str
    max_dets: int
    image_ids: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    class_names: NDArray[np.str_]
    images: NDArray[np.int32]
    classes: NDArray[np.int32]
    scores: NDArray[np.float64]
    true_positives: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    quality: NDArray[np.float64]
    objects: NDArray[np.int32]
    object_ids: NDArray[np.int64]
    object_images: NDArray[np.int32]
    object_classes: NDArray[np.int32]
    regular: NDArray[np.bool_]
    ground_truth: str = ""
    detections: str = ""

    @property
    def areas(self) -> tuple[str, ...]:
        """Names of the area ranges, "all" first."""
        return AREAS_OF_TYPE[self.iou_type]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_ids)

    def detections_of(self, class_index: int) -> slice:
        """Where the detections of a class are."""
        return slice(*np.searchsorted(self.classes, [class_index, class_index + 1]).tolist())

    def objects_of(self, class_index: int) -> slice:
        """Where the objects of a class are."""
        return slice(*np.searchsorted(self.object_classes, [class_index, class_index + 1]).tolist())

    def class_matches(self, class_index: int) -> ClassMatches:
        """One class at ``TAU``, all sizes, as an :class:`Evaluation` has it; records unknown."""
        here = self.detections_of(class_index)
        tau = int(np.abs(COCO_THRESHOLDS - TAU).argmin())
        unknown = np.full(here.stop - here.start, -1)
        return ClassMatches(
            records=unknown,
            scores=self.scores[here],
            ranks=unknown,
            quality=self.quality[0, here],
            true_positives=self.true_positives[0, tau, here],
            ignored=self.ignored[0, tau, here],
            num_gt=int(self.regular[0, self.objects_of(class_index)].sum()),
        )


def matches_of(
    evaluation: Evaluation,
    iou_type: str,
    max_dets: int,
    areas_of: str = "boxes",
    digests: tuple[str, str] = ("", ""),
) -> Matches:
    """The records of a matching that was made at ``COCO_THRESHOLDS`` at least.

    Args:
        evaluation: the matching, by IoU (or OKS).
        iou_type, max_dets, areas_of: what it was made with.
        digests: SHA-256 of the ground truth and the detections file.
    """
    truth, matching = evaluation.ground_truth, evaluation.matching
    order = np.concatenate([evaluation.by_score(k) for k in range(evaluation.num_classes)])
    coco = [evaluation.threshold_index(threshold) for threshold in COCO_THRESHOLDS]
    tau = evaluation.threshold_index(TAU)
    chosen = matching.chosen[0, tau, order]
    objects = np.full(len(order), NO_OBJECT, np.int32)
    objects[chosen >= 0] = matching.pairs.ground_truths[chosen[chosen >= 0]]
    return Matches(
        iou_type=iou_type,
        areas_of=areas_of,
        max_dets=max_dets,
        image_ids=truth.image_ids,
        class_ids=truth.class_ids,
        class_names=np.array(truth.class_names, dtype=np.str_),
        images=evaluation.detections.images[order].astype(np.int32),
        classes=evaluation.detections.classes[order].astype(np.int32),
        scores=evaluation.detections.scores[order],
        true_positives=matching.true_positives[:, coco][:, :, order],
        ignored=matching.ignored[:, coco][:, :, order],
        quality=np.stack([matching.quality(a, tau, order) for a in range(len(evaluation.areas))]),
        objects=objects,
        object_ids=truth.ids,
        object_images=truth.images.astype(np.int32),
        object_classes=truth.classes.astype(np.int32),
        regular=matching.regular,
        ground_truth=digests[0],
        detections=digests[1],
    )


def digest(source: object) -> str:
    """SHA-256 of a file; empty for content that is not in one."""
    if not isinstance(source, str | Path):
        return ""
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches_bytes(records: Sequence[Matches]) -> bytes:
    """Content of a matches.npz: the records of each IoU type (boxes, masks) of one result.

    The same records give the same bytes.
    """
    arrays: dict[str, Any] = {"format": np.array(FORMAT)}
    for matches in records:
        for name in Matches.__dataclass_fields__:
            value = np.asarray(getattr(matches, name))
            if name in _FLAGS:
                value = np.packbits(value, axis=-1)
            arrays[f"{matches.iou_type}.{name}"] = value
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def read_matches(path: str | Path) -> dict[str, Matches]:
    """IoU type -> records, of a matches.npz.

    Raises:
        InputError: it is no such file, or one of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        version = int(arrays.pop("format"))
        if version != FORMAT:
            raise InputError(f"{path}: format is {version}, must be {FORMAT}; evaluate again")
        types = sorted({name.split(".")[0] for name in arrays})
        return {iou_type: _unpacked(arrays, iou_type) for iou_type in types}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is no file of matches ({error})") from error


def _unpacked(arrays: dict[str, Any], iou_type: str) -> Matches:
    values: dict[str, Any] = {
        name: arrays[f"{iou_type}.{name}"] for name in Matches.__dataclass_fields__
    }
    counts = {
        "true_positives": len(values["scores"]),
        "ignored": len(values["scores"]),
        "regular": len(values["object_ids"]),
    }
    for name in _FLAGS:
        values[name] = np.unpackbits(values[name], axis=-1, count=counts[name]).astype(bool)
    texts = {name: str(values[name]) for name in _TEXTS}
    numbers = {name: int(values[name]) for name in _NUMBERS}
    return Matches(**(values | texts | numbers))
