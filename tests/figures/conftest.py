"""The data sets at hand, as the workflow lays them out, and what the works print."""

import pytest
from rebalance.config.experiments import load_experiments
from rebalance.data.shapes import make_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, num_train=60, num_val=1, image_size=64)
    return {"train": str(folder / "annotations" / "train.json")}


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
