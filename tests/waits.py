"""What of a computation waits for the device: a GPU then has nothing to do.

Counted on the CPU, as calls of the operators whose result decides a shape or a number in Python.
"""

import traceback
from pathlib import Path

import rebalance
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

LIBRARY = Path(rebalance.__file__).parent
WAITING = {
    "_local_scalar_dense",  # item, int, float, bool
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nms",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # with a mask
TO_HOST = {torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy}


class Operators(TorchDispatchMode):
    """Notes the operators that wait, in backward passes, too."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator._schema.name.split("::")[-1]
        masked = name in INDEXING and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in WAITING or masked:
            self.waits.append(f"{name} {line_of_library()}")
        return operator(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    """Notes copies to the host, which reach no operator when the tensor is on the CPU."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in TO_HOST:
            self.waits.append(f"{function.__name__} {line_of_library()}")
        return function(*args, **(kwargs or {}))


def line_of_library():
    """Where the library is at work; "" outside of it."""
    frames = [f for f in traceback.extract_stack() if Path(f.filename).is_relative_to(LIBRARY)]
    return f"{Path(frames[-1].filename).relative_to(LIBRARY)}:{frames[-1].lineno}" if frames else ""


def waits_of(function):
    """Each wait of a call, as "operator file:line"."""
    with Operators() as operators, Methods(operators.waits):
        function()
    return operators.waits
