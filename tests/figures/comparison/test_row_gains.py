"""What rows gain over their baselines: numbers of `rebalance compare` on the same files."""

import json

import numpy as np
import pandas as pd
import pytest
from rebalance.cli import main
from rebalance.config.experiments import load_experiments
from rebalance.config.targets import Table
from rebalance.errors import InputError
from rebalance.figures.comparison.compute import assemble
from rebalance.figures.comparison.gains import (
    RESAMPLES,
    agreement,
    gains_over,
    printed_gains,
    says_nothing,
    with_gains,
)
from rebalance.figures.trained_runs.compute import OWN, transfer
from rebalance.figures.trained_runs.draw import plot_transfer
from rebalance.metrics.compare import compare

METRICS = [
    {"name": "AP", "percent": True, "better": "higher"},
    {"name": "oLRP", "percent": True, "better": "lower"},
    {"name": "AP60", "percent": True, "better": "higher"},
]
PRINTED = {"one": [30.0, 70.0], "two": [31.0, 70.5], "three": [29.0, 69.0]}


@pytest.fixture(scope="module")
def results(random_scene, tmp_path_factory):
    """Folder with the evaluated files of three results: every second detection of the first, a
    third of them."""
    truth, found = random_scene(1, num_images=60)
    detections = {"one": found, "two": found[::2], "three": found[::3]}
    return evaluated(tmp_path_factory.mktemp("results"), truth, detections)


def evaluated(folder, truth, detections):
    """The folder, with the files of each result in one of its name."""
    (folder / "gt.json").write_text(json.dumps(truth))
    for name, found in detections.items():
        run = folder / name
        run.mkdir()
        (run / "detections.json").write_text(json.dumps(found))
        files = {"--gt": folder / "gt.json", "--dt": run / "detections.json",
                 "--out": run / "metrics.json", "--matches": run / "matches.npz"}  # fmt: skip
        arguments = [str(part) for pair in files.items() for part in pair]
        main(["evaluate", *arguments, "--ious", "0.6"])
    return folder


def table(folder, names, baselines, seeds=1):
    rows = [
        {"setting": {"loss": f"{index} {name}"}, "run": name, "variant": "default", "missing": None,
         "reported": dict(zip(("AP", "oLRP"), PRINTED[name], strict=True))}
        for index, name in enumerate(names)
    ]  # fmt: skip
    kinds = {"metrics": "metrics.json", "matches": "matches.npz"}
    files = [
        {kind: [str(folder / name / file)] * seeds for kind, file in kinds.items()}
        for name in names
    ]
    tidy = with_gains(assemble(rows, METRICS, files), METRICS, files, baselines)
    return tidy.set_index(["row", "metric"])


def test_gains_and_intervals_are_those_of_compare(results):
    shown = table(results, ["one", "two", "three"], [None, 0, 0])
    files = [results / name / "detections.json" for name in ("one", "two", "three")]
    expected = compare(results / "gt.json", files, resamples=RESAMPLES, seed=0)["results"]
    for row in (1, 2):
        for name in ("AP", "oLRP"):
            gain = expected[row]["gains"][name]
            line = shown.loc[(row, name)]
            assert (line["gain"], line["low"], line["high"]) == pytest.approx(
                (gain["gain"], gain["low"], gain["high"]), abs=1e-12
            )
    assert shown.loc[(1, "AP"), "reported_gain"] == pytest.approx(0.01)
    assert shown.loc[0, ["baseline", "gain", "reported_gain"]].isna().all(axis=None)


def test_printed_gains_have_ours_beside_them_in_points(results):
    shown = table(results, ["one", "two", "three"], [None, 0, 0])
    found = printed_gains(shown.reset_index(), ["one", "two", "three"], METRICS)
    assert [gain.name for gain in found] == [
        "two over one: AP", "two over one: oLRP", "three over one: AP", "three over one: oLRP"
    ]  # fmt: skip
    assert [gain.printed for gain in found] == [1.0, 0.5, -1.0, -1.0]
    line = shown.loc[(1, "AP")]
    assert found[0][2:] == pytest.approx(tuple(100 * line[["gain", "low", "high"]]))


def test_gains_across_detectors_are_those_of_a_table(results):
    names = ["one", "two", "three"]
    shown = table(results, names, [None, 0, 0])
    runs = {name: [str(results / name / "matches.npz")] for name in names}
    found = gains_over(list(runs.values()), [0, 0, 0], "AP")
    assert found[0] == (0, 0, 0)
    for row in (1, 2):
        assert found[row] == pytest.approx(tuple(shown.loc[(row, "AP"), ["gain", "low", "high"]]))
    rows = [{"setting": {"detector": "ATSS", "loss": loss}} for loss in (OWN, "two", "three")]
    gains = transfer(runs, rows)
    assert gains["loss"].tolist() == ["two", "three"]
    assert gains.loc[0, ["gain", "low", "high"]].tolist() == [100 * end for end in found[1]]
    drawn = plot_transfer(gains, "shapes")
    assert len(drawn.axes[0].texts) == 2
    other = gains.iloc[[0]].assign(detector="PAA", loss="zero")
    axes = plot_transfer(pd.concat([gains, other, other.assign(loss="three")]), "shapes").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["zero", "two", "three"]
    assert {text.get_position() for text in axes.texts if text.get_text() == "own"} == {
        (0, 0), (1, 1)
    }  # fmt: skip
    with pytest.raises(InputError, match="ATSS needs a row with the loss 'its own'"):
        transfer({"two": runs["two"]}, rows[1:2])


def test_each_row_has_the_baseline_that_is_named(results):
    shown = table(results, ["one", "two", "three"], [2, None, 1])
    ap = shown.xs("AP", level="metric")
    assert ap["baseline"].tolist()[::2] == [2, 1]
    assert ap["gain"][0] == pytest.approx(ap["measured"][0] - ap["measured"][2])
    assert ap["gain"][2] == pytest.approx(ap["measured"][2] - ap["measured"][1])


def test_a_metric_without_resamples_has_a_gain_and_no_interval(results):
    shown = table(results, ["one", "two"], [None, 0])
    line = shown.loc[(1, "AP60")]
    assert not np.isnan(line["gain"])
    assert np.isnan(line["low"])


def test_an_error_at_another_tau_has_no_interval(results):
    """The records hold the matching at 0.5."""
    path = results / "three" / "metrics.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"oLRP": 0.9}))
    shown = table(results, ["one", "three"], [None, 0])
    path.write_text(before)
    assert np.isnan(shown.loc[(1, "oLRP"), "low"])
    assert not np.isnan(shown.loc[(1, "AP"), "low"])


def test_the_best_is_named_only_beyond_the_images_and_never_among_equals(results):
    clear = table(results, ["three", "one"], [None, 0])
    assert clear.loc[(1, "AP"), "low"] > 0
    assert clear.xs("AP", level="metric")["best"].tolist() == [False, True]
    equals = table(results, ["one", "one"], [None, 0])
    assert not equals["best"].any()
    assert equals.loc[(1, "AP"), ["gain", "low", "high"]].tolist() == [0, 0, 0]


def test_the_best_is_told_apart_from_every_other_row(tmp_path):
    """5 objects in each of 40 images, of which a result finds some, with nothing false.

    The second misses one more in ten images; the third finds still fewer, but all of them where the
    first does not, so that with other images it could be the best.
    """
    finds = {"one": [3] * 40, "two": [3] * 30 + [2] * 10, "three": [5] * 20 + [2] * 4 + [0] * 16}
    boxes = [[20 * index, 0, 10, 10] for index in range(5)]
    truth = {
        "images": [{"id": image, "width": 100, "height": 100} for image in range(40)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": 5 * image + index, "image_id": image, "category_id": 1, "bbox": box,
             "area": 100, "iscrowd": 0}
            for image in range(40) for index, box in enumerate(boxes)
        ],
    }  # fmt: skip
    detections = {
        name: [
            {"image_id": image, "category_id": 1, "bbox": box, "score": 0.9}
            for image, count in enumerate(counts) for box in boxes[:count]
        ]
        for name, counts in finds.items()
    }  # fmt: skip
    folder = evaluated(tmp_path, truth, detections)
    ap = table(folder, ["two", "one"], [None, 0]).xs("AP", level="metric")
    assert ap["best"].tolist() == [False, True]
    ap = table(folder, ["two", "three", "one"], [2, 2, None]).xs("AP", level="metric")
    assert ap["measured"][1] < ap["measured"][0] < ap["measured"][2]
    assert ap["high"][0] < 0 < ap["high"][1]
    assert not ap["best"].any()


def test_agreement_counts_signs_and_clear_gains(results):
    shown = table(results, ["one", "two", "three"], [None, 0, 0]).reset_index()
    found = {one.metric: one for one in agreement(shown)}
    assert set(found) == {"AP", "oLRP"}  # no printed AP60
    ap = found["AP"]
    # measured: one > two > three; printed: two > one > three
    assert (ap.rows, ap.order, ap.gains, ap.same_sign) == (3, pytest.approx(0.5), 2, 1)
    gains = shown[shown["metric"] == "AP"].dropna(subset=["gain"])
    sizes = [np.abs(gains[name]).sum() for name in ("gain", "reported_gain")]
    assert ap.size == pytest.approx(sizes[0] / sizes[1])
    assert ap.clear == int(((shown["metric"] == "AP") & (shown["high"] < 0)).sum())


@pytest.mark.parametrize(
    ("values", "nothing"), [([0.01, 0.049], True), ([0.01, 0.06], False), ([np.nan], False)]
)
def test_numbers_that_say_nothing(values, nothing):
    frame = pd.DataFrame({"metric": "AP50", "measured": values})
    other = pd.DataFrame({"metric": ["AP"], "measured": [0.0]})
    assert says_nothing(pd.concat([frame, other])) == (nothing or np.isnan(values[0]))


OF_PUBLISHED_DETECTORS = {"thesis_table_7_5", "thesis_table_8_5", "thesis_table_8_9"}
OF_OUR_DETECTORS = {"detectors_table_1", "detectors_table_2", "detectors_table_3"}
OF_ONE_METHOD = {"thesis_table_P_5"}


def test_every_other_table_of_runs_has_a_baseline(repository):
    experiments = load_experiments(repository, check_runs=False)
    without = {
        target.name
        for target in experiments.targets.values()
        if isinstance(target, Table) and not target.entry.baselines
    }
    assert without == OF_PUBLISHED_DETECTORS | OF_OUR_DETECTORS | OF_ONE_METHOD
