"""Recorded calls of the published detectors (golden/detectors, see its README)."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = (
    Path(
        os.environ.get("REBALANCE_GOLDEN", Path(__file__).resolve().parents[4] / "shared/golden"),
    )
    / "detectors"
)
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))


def cases_with(site: str) -> list[str]:
    """Names of the cases in which a function was recorded; a skipped one where there is no data."""
    if not CASES:
        skip = pytest.mark.skip(reason=f"no recorded detectors in {FOLDER.name}")
        return [pytest.param("none", marks=skip)]
    return [name for name in CASES if Case(name).calls(site)]


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
        pattern = re.compile(rf"(train_a|train_b|test)/{re.escape(site)}/\d+(?=/)")
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
