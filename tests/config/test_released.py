"""config/released.yaml: what it allows, and what rows that name its models become at a scale."""

import pytest
from rebalance.config.experiments import load_experiments
from rebalance.config.files import Released
from rebalance.config.parse import parse
from rebalance.errors import InputError

URL = "https://example.org/results.json"
STAND_IN = {"kind": "run", "run": "a"}


def model(**changes):
    return {"model": "A", "task": "boxes", "origin": {"kind": "own_file"}, "stand_in": STAND_IN,
            **changes}  # fmt: skip


WRONG = {
    "a download without checksum": (
        {"origin": {"kind": "results_file", "url": URL}},
        "a.origin.url: needs md5, sha256 or md5_url: nothing is downloaded without a checksum"),
    "a checksum of another length": (
        {"origin": {"kind": "results_file", "url": URL, "md5": "abc"}}, "a.origin.md5"),
    "boxes that are drawn": (
        {"stand_in": {"kind": "drawn", "seed": 0, "shift": 1.0, "missed": 0.1, "invented": 0.1}},
        "a.stand_in: drawn are keypoints and panoptic, not boxes"),
    "a download that stands in": (
        {"stand_in": {"kind": "own_file"}}, "a.stand_in.kind: must be a run or drawn"),
    "video of still images": (
        {"stand_in": None, "origin": {"kind": "video", "run": "a", "thresholds": "none"}},
        "a.origin: kind video and task video go together, got boxes"),
    "an unknown kind": ({"origin": {"kind": "ftp"}}, "a.origin.kind"),
    "an unknown key": ({"weights": "x"}, "a.weights: unknown key 'weights'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_one_sentence_names_the_field(case):
    changes, message = WRONG[case]
    with pytest.raises(InputError) as error:
        parse(Released, {"a": model(**changes)}, "released.yaml")
    assert f"released.yaml: {message}" in str(error.value)


def test_a_run_that_there_is_not_is_named(root):
    (root / "config" / "released.yaml").write_text(
        "a: {model: A, task: boxes, origin: {kind: run, run: nothing}}\n"
    )
    with pytest.raises(InputError, match=r"released.yaml: a.origin.run: no run named 'nothing'"):
        load_experiments(root)


@pytest.fixture(scope="module")
def experiments(repository):
    return load_experiments(repository, check_runs=False)


def test_the_shipped_models_are_those_of_the_tables(experiments):
    rows = {name: experiments.targets[f"thesis_table_{name}"].released for name in ("5_4", "5_6")}
    assert len({row.released for row in rows["5_4"]}) == 32
    assert len({row.released for row in rows["5_6"]}) == 3


@pytest.mark.parametrize(("scale", "stand_ins"), [("shapes", True), ("paper", False)])
def test_stand_ins_are_called_so_and_shown_where_released_models_are_not(
    experiments, scale, stand_ins
):
    files = experiments.results(scale).released
    called = {name for name, model in files.items() if model.says.startswith("stand-in")}
    expected = {name for name, model in experiments.released.items() if model.stand_in is not None}
    assert called == (expected if stand_ins else set())
    assert len(expected) > 30


def test_a_row_about_a_class_shows_what_stands_in_for_it(experiments):
    table = experiments.targets["thesis_table_5_5"]
    row = table.parameters(experiments.results("shapes"))["rows"][0]
    assert (row["of"], row["note"].split("; ")[1]) == ("disc", "disc in place of person")
    row = table.parameters(experiments.results("paper"))["rows"][0]
    assert (row["of"], row["note"]) == (
        "person", "published weights, imported as atss and predicted with here",
    )  # fmt: skip


def test_only_what_the_work_reports_of_a_row_is_measured(experiments):
    rows = experiments.targets["thesis_table_5_4"].parameters(experiments.results("shapes"))["rows"]
    keypoints = next(row for row in rows if row["setting"]["task"] == "keypoint")
    assert "AR20" in keypoints["measures"]
    assert "AR100" not in keypoints["measures"]
    assert "AR100" in rows[0]["measures"]
