"""Shared fixtures: where the repository is, and the optional folder of golden data beside it."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


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
