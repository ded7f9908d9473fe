"""What a card says follows from what its page computed; README's counts follow from the pages."""

import json
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rebalance.config.entries import NotMade
from rebalance.config.experiments import load_experiments
from rebalance.config.targets import FigureOfReleased, ReleasedTable, targets_of
from rebalance.data.shapes import make_shapes
from rebalance.figures.box_simulation import compute as simulation
from rebalance.figures.checks import (
    name_misprints,
    printed_claim,
    read_checks,
    save_checks,
    verdict,
)
from rebalance.figures.family import find_figure, find_table
from rebalance.report.index import VERDICTS, index_html
from rebalance.report.manifest import DETECTORS, detector_name, index_manifest

REPOSITORY = Path(__file__).resolve().parents[2]
FAMILY_NOTEBOOKS = ("analytic_figure", "analytic_table")
FEW_POINTS = 30
"""Of a simulation set-up of the work's 1,000 or 100: what it claims shows on these."""


@pytest.fixture(scope="module")
def experiments(repository):
    return load_experiments(repository, check_runs=False)


def family_checks(target, numbers=None, rows=None):
    """Kind and checks of a page that finds what it shows in a family."""
    given = target.entry.parameters
    family, what = given["family"], given["what"]
    numbers = target.entry.numbers if numbers is None else numbers
    misprints = [misprint.model_dump() for misprint in target.entry.misprints]
    if target.notebook == "analytic_table":
        if rows is None:
            rows = [row.model_dump() for row in target.rows]
        _, found = find_table(family, what)(rows, numbers)
        return "compared", name_misprints(found, misprints)
    figure = find_figure(family, what)
    return figure.kind, name_misprints(figure.checks(numbers), misprints)


@pytest.fixture(scope="module")
def drawn_data(tmp_path_factory):
    """Folder of a few drawn images under the names that the shapes scale gives its data sets."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("shapes", "shapes_voc")):
        make_shapes(folder / name, num_train=30, num_val=2, image_size=64, seed=seed)
    return folder


def page_verdict(target, results, folder, monkeypatch):
    """What the page of a target with a notebook of its own says: its cells until it is written."""
    given = target.parameters(results)
    given |= {role: str(folder / target.name / role) for role in ("figure", "bitmap", "checks")}
    cells = json.loads((REPOSITORY / f"notebooks/{target.notebook}.ipynb").read_text())["cells"]
    code = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    next(code)  # the parameters
    with monkeypatch.context() as patch:
        if target.notebook == "box_simulation":
            patch.setattr(simulation, "setup", partial(simulation.setup, num_points=FEW_POINTS))
        while not Path(given["checks"]).exists():
            exec(next(code), given)
    return read_checks(Path(given["checks"]))[0]


@pytest.fixture
def card(experiments, tmp_path, monkeypatch):
    """The card of a target whose page wrote some checks."""
    monkeypatch.chdir(tmp_path)

    def make(target, checks, kind="compared", scale="shapes"):
        files = target.outputs(experiments.results(scale))
        for file in files.values():
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).touch()
        save_checks(checks, files["checks"], kind)
        manifest = index_manifest(experiments, scale)
        cards = {card["name"]: card for work in manifest["works"] for card in work["targets"]}
        shown = cards[target.name]["verdict"]
        assert shown["words"] in index_html(manifest, Path("results") / scale)
        return shown["status"], shown["words"]

    return make


def test_a_printed_number_less_changes_the_card(experiments, card):
    target = experiments.target("thesis_table_5_1")
    kind, checks = family_checks(target)
    assert card(target, checks, kind) == ("reproduced", "reproduced: 14 of 14")
    rows = [row.model_dump() for row in target.rows]
    del rows[0]["reported"][next(iter(rows[0]["reported"]))]
    assert card(target, family_checks(target, rows=rows)[1]) == (
        "reproduced",
        "reproduced: 13 of 13",
    )
    for row in rows:
        row["reported"] = {}
    assert card(target, family_checks(target, rows=rows)[1]) == ("transcribed", "transcribed")


def test_a_spoilt_number_changes_the_card(experiments, card, monkeypatch):
    target = experiments.target("thesis_figure_3_11")
    assert card(target, family_checks(target)[1]) == ("reproduced", "reproduced: 9 of 9")
    numbers = {"rows": [dict(row) for row in target.entry.numbers["rows"]]}
    numbers["rows"][0]["L1"] += 0.01
    spoilt = family_checks(target, numbers)[1]
    assert card(target, spoilt) == ("differs", "differs: 8 of 9 hold")
    from rebalance.figures.toy_boxes import compute

    monkeypatch.setitem(compute.PREDICTIONS, "red", [0.0, 0.0, 8.0, 6.0])  # what is computed
    assert card(target, family_checks(target)[1]) == ("differs", "differs: 6 of 9 hold")


def test_a_misprint_that_is_no_longer_named_is_a_difference(experiments, card):
    target = experiments.target("thesis_figure_M_1")
    _, checks = family_checks(target)
    assert card(target, checks)[0] == "misprints"
    unnamed = [check._replace(misprint=False) for check in checks]
    assert card(target, unnamed) == ("differs", "differs: 25 of 30 hold")


def test_what_is_not_built_has_no_verdict(experiments, card, monkeypatch):
    target = experiments.target("thesis_table_3_2")
    card(target, [printed_claim("a", True)])
    entry = NotMade(title="Photographs", kind="illustration", waits="needs the photographs")
    (waiting,) = targets_of(replace(target.label, sort="figure", number="9_99"), entry)
    monkeypatch.setitem(experiments.targets, waiting.name, waiting)
    manifest = index_manifest(experiments, "shapes")
    cards = {card["name"]: card for work in manifest["works"] for card in work["targets"]}
    assert (cards[waiting.name]["status"], cards[waiting.name]["verdict"]) == (
        "not_built", None
    )  # fmt: skip
    assert cards["bbgen_table_7"]["status"] == "waiting"


def test_the_scoreboard_has_what_is_printed_of_targets_that_are_not_there(
    experiments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    manifest = index_manifest(experiments, "shapes")
    cards = {card["name"]: card for work in manifest["works"] for card in work["targets"]}
    table = cards["focal_eiou_table_2"]
    assert len(table["claims"]) == 8 * 6 + len(
        experiments.target("focal_eiou_table_2").entry.claims
    )
    first = table["claims"][0]
    assert (first["name"], first["printed"]) == ("Baseline (smooth L1): AP", 35.9)
    assert {claim["verdict"] for claim in table["claims"]} == {"not_measured"}
    assert table["detectors"] == ["RetinaNet"]
    assert cards["focal_eiou_table_2_curves"]["claims"] == []
    said = [claim["name"] for claim in cards["r3cnn_table_2"]["claims"]]
    assert [claim.says for claim in experiments.target("r3cnn_table_2").entry.claims] == said[
        -len(experiments.target("r3cnn_table_2").entry.claims) :
    ]


def test_every_detector_has_a_name_for_readers(experiments):
    names = {base: detector_name(base) for base in experiments.bases}
    assert names["alrp_retinanet_atss"] == "RetinaNet"
    assert names["rs_mask_rcnn_carafe"] == "Mask R-CNN"
    assert set(names.values()) == set(DETECTORS.values())


def test_no_verdict_is_typed(repository):
    for path in (repository / "config").rglob("*.yaml"):
        assert "verdict:" not in path.read_text(), path


def test_the_readme_counts_the_verdicts_that_pages_compute(
    experiments, drawn_data, tmp_path, monkeypatch
):
    results = experiments.results("shapes", data=str(drawn_data))
    made = [t for t in experiments.published if t.made]
    released = [t for t in made if isinstance(t, ReleasedTable | FigureOfReleased)]
    untrained = [t for t in made if not t.runs and t not in released]
    counts = Counter(
        verdict(*family_checks(target)[::-1])
        if target.notebook in FAMILY_NOTEBOOKS
        else page_verdict(target, results, tmp_path, monkeypatch)
        for target in untrained
    )
    readme = (REPOSITORY / "README.md").read_text()
    shown = dict(re.findall(r"^\| ([a-z: ]+) \| (\d+) \|$", readme, re.MULTILINE))
    named = {VERDICTS[status]: str(count) for status, count in counts.items()}
    trained = {t.label for t in made if t.runs}
    named["released models: numbers not compared below the paper scale"] = str(len(released))
    named["trained: numbers not compared below the paper scale"] = str(
        len(trained - {t.label for t in untrained})
    )
    if len(made) < len(experiments.published):
        named["not built"] = str(len(experiments.published) - len(made))
    assert shown == named
