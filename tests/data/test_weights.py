import os
import subprocess
from collections import OrderedDict
from datetime import datetime
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from rebalance.cli import main
from rebalance.data.weights import convert_weights, read_weights
from rebalance.errors import InputError
from safetensors.torch import load_file


def test_every_tensor_survives(tmp_path):
    shared = torch.arange(6.0)
    state = {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
        "bn.num_batches_tracked": torch.tensor(7),
        "a": shared,
        "b": shared.view(2, 3).T,  # shares memory, not contiguous
    }
    torch.save(state, tmp_path / "w.pth")
    out = tmp_path / "w.safetensors"
    assert main(["data", "weights", "--weights", str(tmp_path / "w.pth"), "--out", str(out)]) == 0
    loaded = load_file(out)
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_the_file_is_not_run(tmp_path, legacy):
    torch.save(
        {"w": Payload(str(tmp_path / "evil"))},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(InputError, match=r"w\.pth: not a file of tensors only"):
        convert_weights(tmp_path / "w.pth", tmp_path / "w.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize("content", [b"", b"junk" * 100, "cut"])
def test_a_damaged_file_is_refused(tmp_path, content):
    torch.save({"w": torch.zeros(1000)}, tmp_path / "w.pth")
    if content == "cut":
        content = (tmp_path / "w.pth").read_bytes()[:2000]
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pth: not a file of tensors only"):
        convert_weights(tmp_path / "w.pth", tmp_path / "w.safetensors")


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "w.pth")
    with pytest.raises(InputError, match="must hold a dict of name -> tensor, got list"):
        convert_weights(tmp_path / "w.pth", tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="no such weights file"):
        convert_weights(tmp_path / "absent.pth", tmp_path / "w.safetensors")


class Notes(dict):
    """What a training may note of itself, of a class that the reader need not have."""


class Settings:
    def __init__(self):
        self.lr = 0.02


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_of_mmdetection_is_read_without_its_notes(tmp_path, legacy, monkeypatch):
    state = OrderedDict({"backbone.conv1.weight": torch.rand(2, 3)})
    state._metadata = OrderedDict({"": {"version": 1}})  # as ``nn.Module.state_dict`` has it
    meta = {"epoch": 12, "best": np.float64(0.4), "seeds": np.arange(3), "CLASSES": ("cat", "dog"),
            "notes": Notes(a=1), "settings": Settings(), "time": datetime(2021, 1, 1),
            "path": PurePosixPath("a/b")}  # fmt: skip
    file = tmp_path / "w.pth"
    content = {"meta": meta, "state_dict": state, "optimizer": {"state": {}, "groups": [Notes()]}}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    monkeypatch.delattr(f"{__name__}.Notes")  # reading does not look for it
    allowed = set(torch.serialization.get_safe_globals())
    read = read_weights(file)
    assert read.keys() == {"backbone.conv1.weight"}
    torch.testing.assert_close(read["backbone.conv1.weight"], state["backbone.conv1.weight"])
    assert set(torch.serialization.get_safe_globals()) == allowed


class Print:
    def __reduce__(self):
        return subprocess.check_call, (["touch", "evil"],)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_the_notes_is_not_run_either(tmp_path, legacy, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"meta": {"hook": Print()}, "state_dict": {"w": torch.zeros(1)}}
    torch.save(content, "w.pth", _use_new_zipfile_serialization=not legacy)
    assert read_weights("w.pth").keys() == {"w"}
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]
