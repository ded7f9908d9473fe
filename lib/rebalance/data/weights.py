"""Published weights as safetensors: a format that holds tensors and nothing that runs."""

import io
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from rebalance.data.files import write_atomically
from rebalance.errors import InputError

NESTED = (
    "state_dict",
    "model",
)  # where checkpoints of mmdetection and torchvision have the weights
LEGACY_PICKLES = 4  # torch < 1.6: magic number, version, system, then the object


def convert_weights(source: str | Path, out: str | Path) -> None:
    """Convert the weights of a file (see ``read_weights``) to safetensors.

    Args:
        source: ``.pth`` or ``.safetensors`` file.
        out: ``.safetensors`` file to write.

    Raises:
        InputError: no such file, not a file of tensors only, or damaged.
    """
    write_weights(read_weights(source), out)


def write_weights(state: dict[str, Tensor], out: str | Path) -> None:
    """Write name -> tensor as safetensors, all of it or nothing."""
    # Clones: safetensors refuses tensors that share memory.
    tensors = {name: value.detach().clone().contiguous() for name, value in state.items()}
    write_atomically(out, save(tensors))


def write_checkpoint(state: dict[str, Tensor], out: str | Path, nested: bool) -> None:
    """Write name -> tensor as torch does; ``nested`` under "state_dict", as mmdetection has it."""
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "meta": {}} if nested else state, buffer)
    write_atomically(out, buffer.getvalue())


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """Name -> tensor of a file, without running anything that the file holds.

    Args:
        source: ``.safetensors``, or a file saved by torch with name -> tensor, on its own or under
            "state_dict" (mmdetection) or "model" (torchvision). What else is in the file, notes of
            the training for example, may be of any class: none of them is imported, and their
            objects are forgotten.

    Raises:
        InputError: no such file, not a file of tensors only, or damaged.
    """
    source = Path(source)
    if not source.is_file():
        raise InputError(f"{source}: no such weights file")
    if source.suffix == ".safetensors":
        try:
            return load_file(source)
        except SafetensorError as error:
            raise InputError(f"{source}: cannot be read: {error}") from error
    try:
        # torch's own restricted unpickler still decides what may be called.
        with torch.serialization.safe_globals(_forgotten(source)):
            state: Any = torch.load(source, map_location="cpu", weights_only=True)
    # Whatever it is that fails: torch's unpickler raises nearly anything when it reads junk. Only
    # the first line of its message, since the rest advises to load the file in an unsafe way.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        kind = type(error).__name__
        raise InputError(f"{source}: not a file of tensors only: {kind}: {reason}") from None
    for key in NESTED:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(
            f"{source}: must hold a dict of name -> tensor, got {type(state).__name__}"
        )
    return dict(state)


class _Mapping:
    """In place of a class: an empty dict, which takes entries and attributes."""

    def __new__(cls, *_: object) -> Any:
        return OrderedDict()


class _Value:
    """In place of a class of numpy: takes any arguments and any state, and keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _forgotten(source: Path) -> list[Any]:
    """What to put in the place of the classes that a file saved by torch names.

    Those of torch and of Python itself are left to torch, which knows the harmless ones.
    """
    names = set[str]().union(*_pickled_globals(source))
    return [
        (_Value if name.startswith("numpy.") else _Mapping, name)
        for name in sorted(names)
        if name.split(".")[0] not in ("torch", "builtins", "__builtin__", "collections")
    ]


def _pickled_globals(source: Path) -> list[set[str]]:
    """Names of classes and functions in each pickle of a file saved by torch, full."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            found = []
            for name in names:
                with archive.open(name) as stream:
                    found.append(_globals_of(stream))
            return found
    with open(source, "rb") as stream:
        return [_globals_of(stream) for _ in range(LEGACY_PICKLES)]


def _globals_of(stream: Any) -> set[str]:
    return {
        str(argument).replace(" ", ".", 1)
        for opcode, argument, _ in pickletools.genops(stream)
        if opcode.name == "GLOBAL"
    }
