"""Shared fixtures: the repository, golden data beside it, files made by hand, a file server."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
Scene = tuple[dict[str, Any], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Golden data and coco_tiny, beside the checkout; tests that need them skip without."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the shared/ folder (golden data, coco_tiny) beside the checkout")
    return folder


@pytest.fixture(scope="session")
def golden_lrp(shared_dir: Path) -> Callable[[int], dict[str, Any]]:
    """Case number -> content of golden/lrp_<n>.json.gz."""

    def load(case: int) -> dict[str, Any]:
        with gzip.open(shared_dir / f"golden/lrp_{case}.json.gz") as file:
            return json.load(file)

    return load


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Rows (image, class, x, y, w, h[, crowd]) and (image, class, x, y, w, h, score) as COCO."""

    def make(objects: list[tuple], detections: list[tuple], num_classes: int = 2) -> Scene:
        ground_truth = {
            "images": [{"id": n, "width": 200, "height": 200} for n in range(1, 4)],
            "categories": [{"id": k, "name": f"class {k}"} for k in range(1, num_classes + 1)],
            "annotations": [
                {
                    "id": n,
                    "image_id": row[0],
                    "category_id": row[1],
                    "bbox": list(row[2:6]),
                    "area": row[4] * row[5],
                    "iscrowd": row[6] if len(row) > 6 else 0,
                }
                for n, row in enumerate(objects, start=1)
            ],
        }
        results = [
            {"image_id": row[0], "category_id": row[1], "bbox": list(row[2:6]), "score": row[6]}
            for row in detections
        ]
        return ground_truth, results

    return make


@pytest.fixture(scope="session")
def random_scene() -> Callable[..., Scene]:
    """A seed -> a scene of integer boxes: many overlaps, exact ties of IoU and of score, crowds."""

    def make(
        seed: int,
        num_images: int = 4,
        num_classes: int = 3,
        max_objects: int = 12,
        max_detections: int = 30,
        score_steps: int = 10,
    ) -> Scene:
        rng = np.random.default_rng(seed)
        annotations: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        for image in range(1, num_images + 1):
            boxes = _boxes(rng, rng.integers(max_objects + 1))
            # The last class has no ground truth at all.
            labels = rng.integers(1, max(num_classes, 2), size=len(boxes))
            for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": label,
                        "bbox": box,
                        "area": box[2] * box[3] * rng.choice([0.5, 1.0]),
                        "iscrowd": int(rng.random() < 0.15),
                    }
                )
            count = rng.integers(max_detections + 1)
            found = _boxes(rng, count)
            if len(boxes) and count:
                near = rng.random(count) < 0.7
                source = rng.integers(len(boxes), size=count)
                moved = boxes[source] + rng.integers(-4, 5, size=(count, 4))
                moved[:, 2:] = np.maximum(moved[:, 2:], 1)
                found = np.where(near[:, None], moved, found)
            for box in found.tolist():
                results.append(
                    {
                        "image_id": image,
                        "category_id": int(rng.integers(1, num_classes + 1)),
                        "bbox": box,
                        "score": float(rng.integers(score_steps + 1) / score_steps),
                    }
                )
        ground_truth = {
            "images": [{"id": n, "width": 200, "height": 200} for n in range(1, num_images + 1)],
            "categories": [{"id": k, "name": f"class {k}"} for k in range(1, num_classes + 1)],
            "annotations": annotations,
        }
        return ground_truth, results

    def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
        corner = rng.integers(0, 100, size=(count, 2))
        side = rng.choice([8, 16, 32, 64, 100], size=(count, 2))
        return np.concatenate([corner, side], axis=1)

    return make


@dataclass
class FileServer:
    """A file server on loopback whose faults are chosen by the test.

    Serves ``files``; the faults are taken one per request, in order.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # close after this many bytes of the body
    statuses: list[int] = field(default_factory=list)  # answer with this status
    honours_range: bool = True
    announces_length: bool = True
    false_length: int | None = None
    holds: threading.Event | None = None  # answers come when it is set
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range)
    port: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def add(self, name: str, content: bytes) -> str:
        self.files[f"/{name}"] = content
        return self.url(name)


@pytest.fixture
def server() -> Iterator[FileServer]:
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append((self.path, asked))
            if state.holds:
                state.holds.wait()
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            if self.path not in state.files:
                self.send_error(404)
                return
            content = state.files[self.path]
            start = 0
            if asked and state.honours_range:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                last = len(content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:]
            if state.announces_length:
                self.send_header("Content-Length", str(state.false_length or len(body)))
            self.end_headers()
            if state.cuts:
                body = body[: state.cuts.pop(0)]
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()
