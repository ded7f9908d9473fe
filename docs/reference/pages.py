"""The reference pages of the site: every part with rule, source, options, defaults and picture.

What is said of a part comes from where the code says it: docstrings, options (``PARTS``), the rows
of docs/losses.md and formulas.yaml beside this file, and the settings in config/detectors.yaml.
"""

import ast
import html
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import rebalance.generators
import rebalance.metrics
import yaml
from rebalance.config.documentation import one_line, options_table
from rebalance.config.experiments import Experiments, load_experiments
from rebalance.config.options.assigners import Assigner
from rebalance.config.options.losses import (
    BoxLoss,
    ClassLoss,
    CoupledRankingLoss,
    InstanceWeights,
    Loss,
    MaskIouLoss,
    MaskLoss,
    RankingLoss,
    SemanticLoss,
)
from rebalance.config.options.objectives import Balance
from rebalance.config.options.samplers import Sampler
from rebalance.config.part import Part, imported

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FORMULAS: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
    (HERE / "formulas.yaml").read_text()
)
NO_OPTIONS = "No options.\n"
LOSS_COLUMNS = ("name", "formula", "source", "options", "range", "takes")

API = {
    "losses": ["regression", "classification", "mask", "ranking", "balancing", "weighting"],
    "boxes": [],
    "assigners": ["assignment", "max_iou", "atss", "paa", "foveabox", "ssd"],
    "samplers": ["everything", "combined", "mining", "choose"],
    "generators": ["boxes", "rois", "regions"],
    "metrics": [
        "evaluate", "precision_recall", "lrp", "compare", "annotations", "evaluation", "panoptic",
        "correlation", "threshold", "voc",
    ],
    "errors": [],
}  # fmt: skip
"""Modules of each page of the API below ``rebalance``; none: the page's own."""

LOSS_PAGES: dict[str, tuple[str, str, list[type[Part]]]] = {
    "box_losses": (
        "Losses on boxes",
        "They learn the box of a positive, from its encoded deltas, its decoded box, or both. "
        "Pictures of losses on boxes: a 10 x 8 box that moves to the right over a 10 x 10 one; of "
        "losses on deltas: prediction minus target. Drag boxes yourself in the "
        "[playground](../playground.md).",
        [BoxLoss],
    ),
    "class_losses": (
        "Losses on classes",
        "They learn the class of a candidate. The number after a name in a picture is its target.",
        [ClassLoss],
    ),
    "mask_losses": (
        "Losses on masks",
        "They learn masks of instances, of classes at every pixel, and the IoU of a mask. "
        "Pictures: one logit for all pixels of an object that covers a quarter of the image.",
        [MaskLoss, SemanticLoss, MaskIouLoss],
    ),
    "ranking_losses": (
        "Ranking losses",
        "They see all logits of a batch at once; move scores yourself in the "
        "[playground](../playground.md). Weights of single positives and the balance between "
        "tasks go with them. Pictures of losses: one negative passes three positives with IoUs "
        "0.9, 0.7 and 0.5, in the wrong order. Pictures of weights: eight positives of one object; "
        "of balances: a training whose ranking loss falls slowly and whose task loss falls fast, "
        "with a gradient twice as large (epochs of 50 iterations).",
        [RankingLoss, CoupledRankingLoss, InstanceWeights, Balance],
    ),
}


def reference_pages(pictures: Iterable[str]) -> dict[str, str]:
    """Address below the site -> Markdown of every generated page.

    Args:
        pictures: names of the pictures of parts that there are, without ending.
    """
    known = set(pictures)
    pages = {f"api/{name}.md": "\n".join(_api(name, modules)) for name, modules in API.items()}
    rows = loss_rows()
    for name, (title, text, kinds) in LOSS_PAGES.items():
        lines = [f"# {title}\n", f"{text}\n", *_parts(kinds, rows, known)]
        pages[f"reference/{name}.md"] = "\n".join(lines)
    for name, text, kind in (
        ("assigners", ASSIGNERS, Assigner),
        ("samplers", SAMPLERS, Sampler),
    ):
        lines = [f"# {name.capitalize()}\n", f"{text}\n", *_parts([kind], rows, known)]
        pages[f"reference/{name}.md"] = "\n".join(lines)
    for kind, module in (("generator", rebalance.generators), ("metric", rebalance.metrics)):
        pages[f"reference/{kind}s.md"] = "\n".join(_functions(kind, module, known))
    pages["elsewhere.md"] = "\n".join(_examples())
    pages["reference/detectors.md"] = "\n".join(_detectors(load_experiments(ROOT)))
    return pages


ASSIGNERS = """\
Which ground truth, if any, each candidate belongs to. Every picture shows the same scene: two
ground truths, and a panel for each of three levels of square anchors, drawn as dots at their
centres. Coloured dots are positives of the ground truth of that colour, grey ones
negatives, crosses are ignored."""

SAMPLERS = """\
Which of the assigned candidates enter the loss. Every picture shows the same 600 candidates by
their IoU (grey), and the 64 that the sampler keeps of them: negatives below 0.5, positives
above. `hard_negative` and `all` keep as many as their rule says."""


def loss_rows() -> dict[str, dict[str, str]]:
    """Name -> cells of the rows in the tables of docs/losses.md."""
    found = {}
    for line in (ROOT / "docs/losses.md").read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == len(LOSS_COLUMNS) and cells[0].startswith("`"):
            found[cells[0].strip("`")] = dict(zip(LOSS_COLUMNS, cells, strict=True))
    return found


def _api(name: str, modules: list[str]) -> Iterator[str]:
    yield f"# API: {name}\n"
    for module in modules or [None]:
        yield f"::: rebalance.{name}" + (f".{module}" if module else "") + "\n"


def _parts(
    kinds: Iterable[type[Part]], losses: dict[str, dict[str, str]], pictures: set[str]
) -> Iterator[str]:
    for kind in kinds:
        parts = kind.parts()
        several = kind in (InstanceWeights, Balance)
        if several:
            yield f"## {kind.noun.capitalize()}\n"
            yield f"{one_line(kind.__doc__)}\n"
        for name, part in parts.items():
            # Names of weights and balances may be those of other parts.
            anchor = f"{kind.noun.split()[0]}-{name}" if several else name
            yield f"{'###' if several else '##'} `{name}` {{ #{anchor} }}\n"
            yield from _part(part, FORMULAS.get(kind.noun, losses)[name])
            picture = f"{_kind_of(kind)}_{name}"
            if picture in pictures:
                yield f"![{name}: {one_line(part.__doc__)}](../pictures/{picture}.svg)\n"


def _kind_of(kind: type[Part]) -> str:
    """What names of pictures of its parts begin with."""
    return "loss" if issubclass(kind, Loss) else kind.noun.split()[-1]


def _part(part: type[Part], row: dict[str, str]) -> Iterator[str]:
    """What a part is, its rule and source, its options, and where its function is."""
    yield f"{one_line(part.__doc__)}\n"
    for key, label in (("formula", "Formula"), ("rule", "Rule")):
        if row.get(key):
            yield f"**{label}.** {row[key]}\n"
    facts = [f"**{key.capitalize()}:** {row[key]}" for key in ("source", "range") if row.get(key)]
    if row.get("takes"):
        taken = ", ".join(f"`{name.strip()}`" for name in row["takes"].split(","))
        facts.append(f"**Takes:** {taken}")
    if part.makes:
        facts.append(f"**Function:** {_link(part.makes)}")
    yield " · ".join(facts) + "\n"
    table = list(options_table(part))
    yield from (line.replace("](#", "](../options.md#") for line in table or [NO_OPTIONS])


def _link(makes: str) -> str:
    """A link to the function in the API, where it is there."""
    module, _, name = makes.partition(":")
    public = any(
        module == f"rebalance.{page}" + (f".{one}" if one else "")
        for page, modules in API.items()
        for one in modules or [""]
    )
    return f"[`{name}`][{module}.{name}]" if public else f"`{module}.{name}`"


def _functions(kind: str, module: Any, pictures: set[str]) -> Iterator[str]:
    """A page of plain functions: first sentence, rule, source, options with defaults, picture."""
    yield f"# {kind.capitalize()}s\n"
    yield f"{one_line(module.__doc__)}\n"
    for name, said in FORMULAS[kind].items():
        function = imported(f"{module.__name__}:{name}")
        yield f"## `{name}` {{ #{name} }}\n"
        yield re.sub(r":func:(?=`)", "", one_line(function.__doc__)) + "\n"
        yield f"**Rule.** {said['rule']}\n"
        link = _link(f"{function.__module__}:{name}")
        yield f"**Source:** {said['source']} · **Function:** {link}\n"
        options = [
            (p.name, p.default)
            for p in inspect.signature(function).parameters.values()
            if p.default is not p.empty
        ]
        if options:
            yield "| option | default |\n|---|---|"
            for option, default in options:
                yield f"| `{option}` | `{_default(default)}` |"
            yield ""
        else:
            yield NO_OPTIONS
        if f"{kind}_{name}" in pictures:
            yield f"![{name}](../pictures/{kind}_{name}.svg)\n"


def _default(value: object) -> str:
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return f"array of {len(value)}" if hasattr(value, "shape") else repr(value)  # type: ignore[arg-type]


def _examples() -> Iterator[str]:
    """The files in examples/, which tests run."""
    yield "# In other frameworks\n"
    yield (
        "Losses, generators and metrics take plain tensors and COCO files, so they go into "
        "detectors that are not of this suite. Each of these is a file of `examples/`.\n"
    )
    for path in sorted((ROOT / "examples").glob("*.py")):
        code = path.read_text()
        title = str(ast.get_docstring(ast.parse(code))).splitlines()[0]
        yield f"## {title.rstrip('.')}\n"
        yield f'```python title="examples/{path.name}"\n{code.strip()}\n```\n'


def _detectors(experiments: Experiments) -> Iterator[str]:
    """Every detector of config/detectors.yaml as the way of an image through it."""
    yield "# Detectors\n"
    yield (
        "Every detector of `config/detectors.yaml`, as the way of an image through it: each box is "
        "a step, with the head that it runs, what assigns and samples its candidates, and its "
        "losses. Steps that name the same head share it. What they learn at the small scale is "
        "in [a table](../detectors.md), their settings are explained under "
        "[options](../options.md#detector).\n"
    )
    for name, base in experiments.bases.items():
        settings = experiments.detector_settings(name)
        yield f"## `{name}` {{ #{name} }}\n"
        if base.like:
            yield f"Like [`{base.like}`](#{base.like}), but for:\n"
            changes = yaml.safe_dump(base.settings, sort_keys=False, default_flow_style=None)
            yield f"```yaml\n{changes.strip()}\n```\n" if base.settings else "its name.\n"
        yield _flow(settings) + "\n"
        said = [d if isinstance(d, str) else d.says for d in base.departures]
        yield from (f"- Departure: {html.escape(text)}" for text in said)
        yield ""


def _flow(settings: dict[str, Any]) -> str:
    """The steps as a list that the style sheet draws as boxes with arrows."""
    boxes = [("image", []), (f"neck: {settings['neck']['name']}", [])]
    for step in settings["steps"]:
        of_step = step if isinstance(step, dict) else {step: step}
        kind, head = next(iter(of_step.items()))
        shared = settings.get(kind) or {}
        merged = {**shared, **{k: v for k, v in of_step.items() if k != kind}}
        heads = settings["heads"].get(head, {})
        details = [f"head: {heads.get('name', head)}" + (f" ({head})" if head != kind else "")]
        details += [
            f"{part}: {_name(merged[part])}"
            for part in ("assigner", "sampler", "rois")
            if merged.get(part)
        ]
        if "iou" in of_step:
            details.append(f"IoU {of_step['iou']}")
        objective = merged.get("objective") or {}
        for task in ("class", "box", "mask", "mask_iou", "semantic", "centerness"):
            if objective.get(task):
                details.append(f"{task} loss: {_name(objective[task])}")
        boxes.append((kind, details))
    boxes.append((f"test: {_name((settings.get('test') or {}).get('nms', 'nms'))}", []))
    items = "".join(
        f"<li><b>{html.escape(title)}</b>"
        + "".join(f"<span>{html.escape(one)}</span>" for one in details)
        + "</li>"
        for title, details in boxes
    )
    return f'<ol class="flow">{items}</ol>'


def _name(value: Any) -> str:
    return str(value.get("name", "set") if isinstance(value, dict) else value)
