"""The data sets at hand, as the workflow lays them out, and what the works print."""

import pytest
from rebalance.config.experiments import load_experiments
from rebalance.data.shapes import CLASS_NAMES, make_shapes
from rebalance.data.voc import make_shapes_voc, voc_to_coco


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, num_train=60, num_val=1, image_size=64)
    return {"train": str(folder / "annotations" / "train.json")}


@pytest.fixture(scope="session")
def shapes_voc(tmp_path_factory):
    """Drawings in Pascal VOC's layout, read back."""
    folder = tmp_path_factory.mktemp("shapes_voc")
    make_shapes_voc(folder / "kit", num_train=40, num_val=1, image_size=64, seed=1)
    voc_to_coco({"train": [f"{folder}/kit/VOC2012:trainval"]}, folder / "coco", CLASS_NAMES)
    return {"train": str(folder / "coco" / "annotations" / "train.json")}


@pytest.fixture(scope="session")
def coco_tiny(shared_dir, tmp_path_factory):
    """Real images, as the workflow lays them out."""
    source = shared_dir / "data" / "coco_tiny"
    folder = tmp_path_factory.mktemp("coco_tiny")
    (folder / "annotations").mkdir()
    (folder / "images").symlink_to(source / "train2017")
    (folder / "annotations" / "train.json").symlink_to(
        source / "annotations" / "instances_train2017.json"
    )
    return {"train": str(folder / "annotations" / "train.json")}


@pytest.fixture
def numbers(repository):
    """What the works print about a figure."""
    experiments = load_experiments(repository, check_runs=False)
    return lambda name: experiments.targets[name].entry.numbers
