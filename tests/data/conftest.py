"""Small data sets."""

import json
from pathlib import Path

import pytest
from rebalance.data.shapes import make_shapes


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
