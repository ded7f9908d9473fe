"""Recorded calls of the published detectors (golden/detectors, see its README)."""

import json
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = (
    Path(
        os.environ.get("REBALANCE_GOLDEN", Path(__file__).resolve().parents[3] / "shared/golden"),
    )
    / "detectors"
)
PHASES = ("train_a", "train_b", "test")
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))


def cases_with(*sites: str, among: Iterable[str] = CASES) -> pytest.MarkDecorator:
    """Parametrises a test by ``name``: the cases in which one of the functions was recorded.

    One skipped case where there is no data.
    """
    found = [name for name in CASES if name in among and _sites(name) & set(sites)]
    missing = pytest.mark.skip(reason="needs golden/detectors (REBALANCE_GOLDEN)")
    return pytest.mark.parametrize("name", found or [pytest.param("none", marks=missing)])


@cache
def _sites(name: str) -> set[str]:
    parts = [part.split("/") for part in Case(name).names]
    return {part[1] for part in parts if part[0] in PHASES and len(part) > 2}


class Case:
    """One .npz: its arrays by name, as tensors."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays = np.load(FOLDER / f"{name}.npz")
        self.meta = json.loads(str(self.arrays["meta"]))
        self.names = {*self.arrays.files, *self.meta["alias"]}
        config = self.meta["config"]
        self.model = config.get("model", config)

    def __getitem__(self, name: str) -> Tensor:
        value = torch.from_numpy(self.arrays[self.meta["alias"].get(name, name)])
        return value.long() if value.dtype == torch.int32 else value

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def calls(self, site: str) -> list[str]:
        """Prefixes "phase/site/n" of the recorded calls of a function, in order."""
        pattern = re.compile(rf"({'|'.join(PHASES)})/{re.escape(site)}/\d+(?=/)")
        found = {match[0] for match in map(pattern.match, self.names) if match}
        return sorted(found, key=lambda call: (call.split("/")[0], int(call.split("/")[-1])))

    def levels(self, prefix: str) -> list[Tensor]:
        """Arrays prefix/0, prefix/1, ...: of the pyramid's levels, or of the images."""
        found = []
        while f"{prefix}/{len(found)}" in self:
            found.append(self[f"{prefix}/{len(found)}"])
        return found

    def iou(self, call: str) -> Any:
        """The IoU threshold that a recorded suppression was called with."""
        settings = self.meta["nms_cfg"][call + "/nms_cfg"]
        return settings["iou_threshold"] if "iou_threshold" in settings else settings["iou_thr"]
