"""Mask detectors as configured: parameters, degenerate inputs, settings that are refused."""

import pytest
import yaml
from rebalance.detectors import count_parameters
from rebalance.settings import merged

RESNET50 = {"name": "resnet", "depth": 50, "norm": "frozen_statistics", "frozen_stages": 1}


@pytest.fixture(scope="module")
def configured(repository):
    """Name of a detector -> its settings."""
    detectors = yaml.safe_load((repository / "config" / "detectors.yaml").read_text())

    def settings_of(name):
        own = dict(detectors[name])
        like = own.pop("like", None)
        return own if like is None else merged(settings_of(like), own)

    return settings_of


@pytest.mark.parametrize(
    ("name", "thousands"),
    [("mask_rcnn", 44_170), ("htc", 77_230), ("r3cnn_naive", 43_912), ("r3cnn_advanced", 50_072)],
)
def test_trainable_parameters_are_those_of_r3cnn_table_1(configured, name, thousands):
    """Stem and first stage frozen: conv1, bn1 and layer1 of ResNet-50 have 225,344 parameters."""
    settings = {"backbone": RESNET50, "detector": configured(name)}
    total, trainable = count_parameters(settings, num_classes=80)
    assert trainable // 1000 == thousands
    assert total - trainable == 225_344
