"""A file server on loopback whose faults are chosen by the test, and small datasets."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rebalance.data.shapes import make_shapes


@dataclass
class FileServer:
    """Serves ``files``; the faults are taken one per request, in order."""

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # close after this many bytes of the body
    statuses: list[int] = field(default_factory=list)  # answer with this status
    honours_range: bool = True
    announces_length: bool = True
    false_length: int | None = None
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


@pytest.fixture(scope="session")
def shapes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic set with 60 and 20 images; tests do not change it."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_shapes(folder, num_train=60, num_val=20, seed=3)
    return folder


@pytest.fixture
def coco() -> dict:
    """A valid COCO JSON: two images, three objects."""
    return json.loads("""{
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30},
            {"id": 4, "file_name": "b.jpg", "width": 20, "height": 50}
        ],
        "categories": [{"id": 9, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [1, 2, 10, 20], "area": 200,
             "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0.5, 0, 5, 4], "area": 20,
             "iscrowd": 1},
            {"id": 3, "image_id": 4, "category_id": 3, "bbox": [15, 40, 5.25, 12], "area": 50,
             "iscrowd": 0}
        ]
    }""")
