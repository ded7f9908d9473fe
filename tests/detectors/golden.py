"""Golden data of detectors: see its README for what is in a file."""

import json
import os
from pathlib import Path

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = (
    Path(os.environ.get("REBALANCE_GOLDEN", REPOSITORY.parent / "shared" / "golden")) / "detectors"
)


class GoldenCase:
    """One file: ``case["train_a/neck/0/out/1"]``, with aliases followed."""

    def __init__(self, name, folder=FOLDER):
        self.arrays = np.load(folder / f"{name}.npz")
        self.meta = json.loads(str(self.arrays["meta"]))
        self.alias = self.meta.get("alias", {})

    def __contains__(self, name):
        return name in self.arrays or name in self.alias

    def __getitem__(self, name):
        return _float32(self.arrays[self.alias.get(name, name)])

    def state(self):
        """The state dict, under mmdetection's names."""
        return {
            name.removeprefix("state/"): _float32(self.arrays[name])
            for name in self.arrays.files
            if name.startswith("state/")
        }


def _float32(array):
    tensor = torch.from_numpy(array)
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def case_names():
    return sorted(path.stem for path in FOLDER.glob("*.npz"))
