"""The sub-command ``new``: all places of a loss, a table or a detector of one's own."""

import argparse
import keyword
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import rebalance
from rebalance.errors import InputError

MINE = Path("config/papers/mine.yaml")
BASELINE = "retinanet_r50_smooth_l1"

MINE_HEAD = """title: My experiments
reference: made with Rebalance
own: true

runs:

targets:
"""

LOSS = '''"""{name}: a box loss of one's own. Say here what it is, and where it is from."""

from torch import Tensor

from rebalance.boxes import paired_boxes, paired_iou
from rebalance.losses.reduction import reduce_loss


def {name}_loss(
    pred_boxes: Tensor, target_boxes: Tensor, reduction: str = "none", gamma: float = 0.5
) -> Tensor:
    """``(1 - IoU) (1 + gamma (1 - IoU))`` in [0, 1 + gamma], of boxes paired row by row.

    Args:
        pred_boxes: [N, 4] xyxy, pixels, float.
        target_boxes: [N, 4], row i is the target of prediction i.
        reduction: "none" gives [N]; "mean" and "sum" give a scalar, 0 when N == 0.
        gamma: >= 0; 0 is 1 - IoU.

    Raises:
        InputError: shapes that do not match.
        TypeError: tensors of integers.
    """
    pred, target = paired_boxes(pred_boxes, target_boxes)
    error = 1 - paired_iou(pred, target)
    return reduce_loss(error * (1 + gamma * error), reduction, pred_boxes)
'''

LOSS_OPTIONS = '''

class {camel}(BoxLoss, name="{name}", makes="rebalance.losses.{name}:{name}_loss"):
    """A loss of one's own: (1 - IoU) (1 + gamma (1 - IoU))."""

    gamma: NonNegative = 0.5
    """How much more bad boxes count; 0 is 1 - IoU."""
'''

LOSS_ROW = (
    "| `{name}` | (1 − IoU)(1 + γ(1 − IoU)) | one's own | gamma=0.5 | [0, 1.5] "
    "| pred_boxes, target_boxes |\n"
)

LOSS_TEST = '''import pytest
import torch
from rebalance.losses.{name} import {name}_loss


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, 0.5), (0.5, 0.625), (1.0, 0.75)])
def test_equals_the_value_worked_out_by_hand(gamma, expected):
    """Nested boxes of IoU 8 / 16."""
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 2]])
    loss = {name}_loss(pred, target, gamma=gamma)
    torch.testing.assert_close(loss, torch.tensor([expected]))


def test_equal_boxes_cost_nothing_and_disjoint_ones_most(random_boxes):
    boxes = random_boxes(32, seed=0)
    torch.testing.assert_close({name}_loss(boxes, boxes), torch.zeros(32))
    torch.testing.assert_close({name}_loss(boxes, boxes + 1e4), torch.full((32,), 1.5))


def test_no_pairs_give_zero_and_a_gradient():
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = {name}_loss(pred, torch.zeros(0, 4), reduction="mean")
    assert loss == 0
    assert loss.requires_grad
'''

RUN = (
    "  retinanet_r50_{name}:\n"
    "    {{base: {base}, backbone: resnet50, dataset: coco2017, schedule: focal_eiou{changes}}}\n"
)

TABLE = """  table_{name}:
    title: {title}
    kind: trained
    metrics:
      - {{name: AP, percent: true, better: higher}}
      - {{name: AP50, percent: true, better: higher}}
      - {{name: oLRP, percent: true, better: lower}}
    baselines: [null, 0]
    rows:
      - {{setting: {{run: baseline}}, run: {baseline}, reported: {{}}}}
      - {{setting: {{run: {name}}}, run: retinanet_r50_{name}, reported: {{}}}}
"""

DETECTOR = """
{name}:  # of one's own: what it is like, and what differs
  like: retinanet_focal_eiou
  dense:
    assigner: {{name: atss, top_k: 9}}
    objective: {{box: {{name: giou, weight: 2.5}}}}
  steps: [dense]
"""

DETECTOR_TITLE = "## Detectors of one's own"
DETECTOR_HEAD = f"""
{DETECTOR_TITLE}

| detector | steps | what it is |
|---|---|---|
"""
DETECTOR_ROW = "| `{name}` | dense | RetinaNet with ATSS's assignment and GIoU |\n"

DETECTOR_TEST = """from pathlib import Path

import torch
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.detectors import build_detector


def test_it_is_built_and_its_losses_are_finite_and_have_gradients():
    experiments = load_experiments(Path(__file__).resolve().parents[2], check_runs=False)
    run = resolve_run(experiments, "retinanet_r50_{name}", "shapes").model_dump()
    detector = build_detector(run, num_classes=8)
    target = {{
        "boxes": torch.tensor([[8.0, 8, 40, 44]]),
        "labels": torch.tensor([3]),
        "ignored_boxes": torch.zeros(0, 4),
        "image_size": (96, 96),
        "image_id": 1,
    }}
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    losses = detector(images, [target], [torch.Generator().manual_seed(0)])
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    assert any(p.grad is not None and p.grad.any() for p in detector.heads.parameters())
"""


def add_new(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add it to the command line."""
    parser = commands.add_parser(
        "new",
        help="begin a loss, a table or a detector of one's own",
        description=new_command.__doc__,
    )
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("name", metavar="NAME", help="small letters, digits and _: my_iou")
    parser.set_defaults(run=new_command)


def new_command(arguments: argparse.Namespace) -> None:
    """Write code, settings, test and documentation that work at once, to be changed from there."""
    root, name = Path(), arguments.name
    _check_name(name)
    _check_checkout(root)
    texts = KINDS[arguments.kind](root, name)
    from rebalance.data.files import write_atomically

    for path, text in texts.items():
        write_atomically(root / path, text.encode())
        print(f"wrote {path}")
    if arguments.kind == "loss":  # by a process that sees the new entry
        subprocess.run([sys.executable, "-m", "rebalance.config.documentation"], check=True)
        print("wrote docs/options.md and docs/schemas")
    print(f"snakemake mine_table_{name} trains and shows it")


def loss_texts(root: Path, name: str) -> dict[Path, str]:
    """Files of a new box loss, by path below the checkout."""
    from rebalance.config.options.losses import Loss

    if name in Loss.parts():
        raise InputError(f"there is a loss {name!r} already")
    code, test = Path(f"lib/rebalance/losses/{name}.py"), Path(f"tests/losses/test_{name}.py")
    _check_absent(root, code, test)
    options, page = Path("lib/rebalance/config/options/losses.py"), Path("docs/losses.md")
    camel = "".join(part.capitalize() for part in name.split("_"))
    if re.search(rf"^class {camel}\(", (root / options).read_text(), re.MULTILINE):
        raise InputError(f"{options} has a class {camel} already")
    changes = f", detector: {{dense: {{objective: {{box: {{name: {name}, weight: 2.5}}}}}}}}"
    return {
        code: LOSS.format(name=name),
        options: (root / options).read_text() + LOSS_OPTIONS.format(name=name, camel=camel),
        test: LOSS_TEST.format(name=name),
        page: _with_row(root / page, "## On boxes", LOSS_ROW.format(name=name)),
        MINE: _with_table(root, name, "retinanet_focal_eiou", changes),
    }


def table_texts(root: Path, name: str) -> dict[Path, str]:
    """Files of a new table of two rows, by path below the checkout."""
    changes = ", detector: {dense: {objective: {box: {name: giou, weight: 1.0}}}}"
    return {MINE: _with_table(root, name, "retinanet_focal_eiou", changes)}


def detector_texts(root: Path, name: str) -> dict[Path, str]:
    """Files of a new detector, by path below the checkout."""
    from rebalance.config.reading import load_yaml

    settings, page = Path("config/detectors.yaml"), Path("docs/detectors.md")
    if name in load_yaml(root / settings):
        raise InputError(f"{settings} has {name!r} already")
    test = Path(f"tests/detectors/test_{name}.py")
    _check_absent(root, test)
    text = (root / page).read_text()
    if DETECTOR_TITLE not in text:
        text = text.rstrip("\n") + "\n" + DETECTOR_HEAD
    return {
        settings: (root / settings).read_text() + DETECTOR.format(name=name),
        test: DETECTOR_TEST.format(name=name),
        page: text.rstrip("\n") + "\n" + DETECTOR_ROW.format(name=name),
        MINE: _with_table(root, name, name, ""),
    }


KINDS: Mapping[str, Callable[[Path, str], dict[Path, str]]] = {
    "loss": loss_texts,
    "table": table_texts,
    "detector": detector_texts,
}
"""What can be begun -> the contents of its files."""


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(
            f"NAME must be small letters, digits and _ after a letter, as in my_iou, and no "
            f"word of Python, got {name!r}"
        )


def _check_checkout(root: Path) -> None:
    """Refuse a folder whose library is not the one that runs: its loss would not be found."""
    package = (root / "lib" / "rebalance").resolve()
    if Path(rebalance.__file__).resolve().parent != package:
        raise InputError(
            "works in a checkout whose library is installed from it (make install): "
            f"{package} is not the rebalance that runs"
        )


def _check_absent(root: Path, *paths: Path) -> None:
    for path in paths:
        if (root / path).exists():
            raise InputError(f"{path} is there already")


def _with_table(root: Path, name: str, base: str, changes: str) -> str:
    """mine.yaml with a run and the table that compares it with the baseline."""
    from rebalance.config.experiments import load_experiments

    experiments = load_experiments(root, check_runs=False)
    for kind, entry, there in (
        ("run", f"retinanet_r50_{name}", experiments.runs),
        ("target", f"mine_table_{name}", experiments.targets),
    ):
        if entry in there:
            raise InputError(f"there is a {kind} {entry!r} already")
    text = (root / MINE).read_text() if (root / MINE).exists() else MINE_HEAD
    text = re.sub(r"^(runs|targets): *\{\} *$", r"\1:", text, flags=re.MULTILINE)
    runs, mark, targets = text.partition("\ntargets:")
    if not mark or "\nruns:" not in runs:
        raise InputError(
            f"{MINE}: must have runs: and, below it, targets:, each in a line of its own"
        )
    run = RUN.format(name=name, base=base, changes=changes)
    title = name.replace("_", " ").capitalize()
    table = TABLE.format(name=name, title=title, baseline=BASELINE)
    return f"{runs.rstrip()}\n{run}{mark}{targets.rstrip()}\n{table}"


def _with_row(page: Path, heading: str, row: str) -> str:
    """The page with a row more at the end of the first table below a heading."""
    text = page.read_text()
    found = re.search(rf"^{heading}$.*?^\|.*?\n(?!\|)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise InputError(f"{page}: no table below {heading!r}")
    return text[: found.end()] + row + text[found.end() :]
