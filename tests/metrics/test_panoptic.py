"""PQ and LRP of panoptic segmentation: published code, void and crowd by hand, a slow loop."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rebalance.cli import main
from rebalance.errors import InputError
from rebalance.metrics import evaluate_panoptic
from rebalance.metrics.panoptic import PanopticCounts, Segments, count_matches

LRP_KEYS = {"lrp": "LRP", "lrp_loc": "LRP_Loc", "lrp_fp": "LRP_FP", "lrp_fn": "LRP_FN"}
PQ_KEYS = {"pq": "PQ", "sq": "SQ", "rq": "RQ"}
COUNT_KEYS = {"tp": "N_TP", "fp": "N_FP", "fn": "N_FN"}


def assert_equal(ours, expected):
    expected = np.nan if expected is None else expected
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("case", [0, 1])
def test_equals_the_published_code(shared_dir, case):
    folder = shared_dir / f"golden/panoptic_{case}"
    official = json.loads((folder / "expected.json").read_text())["official"]
    metrics = evaluate_panoptic(folder / "gt.json", folder / "pred.json")
    for group in ("All", "Things", "Stuff"):
        for theirs, ours in (PQ_KEYS | {"n": "N"}).items():
            assert_equal(metrics[group][ours], official[group]["pq"][theirs])
        for theirs, ours in (LRP_KEYS | {"n": "N"}).items():
            assert_equal(metrics[group][ours], official[group]["lrp"][theirs])
    rows = {str(row["category_id"]): row for row in metrics["per_class"]}
    for category, expected in official["per_class"].items():
        for theirs, ours in (PQ_KEYS | LRP_KEYS | COUNT_KEYS).items():
            assert_equal(rows[category][ours], expected[theirs])


def segments(rows):
    """Segments from rows (id, class[, crowd])."""
    rows = sorted(rows)
    return Segments(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([len(row) > 2 and row[2] for row in rows], bool),
    )


def count(truth_pixels, truth, pixels, predicted, tau=0.5):
    counts = PanopticCounts.zeros(2)
    pixels = [np.array([list(map(int, row)) for row in rows]) for rows in (truth_pixels, pixels)]
    count_matches(counts, pixels[0], segments(truth), pixels[1], segments(predicted), tau)
    return counts.n_tp[0], counts.n_fp[0], counts.n_fn[0], counts.iou_sum[0]


@pytest.mark.parametrize(
    ("truth", "pixels", "truth_segments", "expected"),
    [
        pytest.param("1111", "1110", [(1, 0)], (1, 0, 0, 3 / 4), id="iou 3/4"),
        pytest.param("1111", "1100", [(1, 0)], (0, 1, 1, 0), id="iou 1/2 is no match"),
        pytest.param("1110", "1111", [(1, 0)], (1, 0, 0, 1), id="void is no part of the union"),
        pytest.param("0001", "1110", [(1, 0)], (0, 0, 1, 0), id="on void: no false positive"),
        pytest.param("0022", "1111", [(2, 1)], (0, 1, 0, 0), id="half on void: false positive"),
        pytest.param("1111", "1111", [(1, 0, True)], (0, 0, 0, 0), id="crowd: neither TP nor FN"),
        pytest.param("1122", "1100", [(1, 0, True), (2, 1)], (0, 0, 0, 0), id="FP on own crowd"),
        pytest.param("1122", "0011", [(1, 0, True), (2, 1)], (0, 1, 0, 0), id="beside the crowd"),
        pytest.param("1111", "1111", [(1, 1)], (0, 1, 0, 0), id="another class"),
    ],
)
def test_void_and_crowd_by_hand(truth, pixels, truth_segments, expected):
    # One prediction, id 1 of class 0.
    assert count([truth], truth_segments, [pixels], [(1, 0)]) == pytest.approx(expected)


def test_an_image_may_have_several_crowds_of_a_class():
    crowds = [(1, 0, True), (2, 0, True)]
    assert count(["1122"], crowds, ["0330"], [(3, 0)])[1] == 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.7]))
def test_counts_equal_a_loop_over_pairs(seed, tau):
    rng = np.random.default_rng(seed)
    truth_pixels = np.repeat(rng.integers(0, 5, (4, 4)), 3, axis=1)
    pixels = np.where(rng.random((4, 12)) < 0.8, truth_pixels, rng.integers(0, 5, (4, 12)))
    truth = segments(
        [
            (int(n), int(rng.integers(2)), bool(rng.random() < 0.3))
            for n in set(truth_pixels.flat) - {0}
        ]
    )
    classes = dict(zip(truth.ids.tolist(), truth.classes.tolist(), strict=True))
    predicted = segments([(int(n), classes.get(int(n), 0)) for n in set(pixels.flat) - {0}])
    counts = PanopticCounts.zeros(2)
    count_matches(counts, truth_pixels, truth, pixels, predicted, tau)
    for label in (0, 1):
        n_tp, n_fp, n_fn, iou_sum = loop(truth_pixels, truth, pixels, predicted, tau, label)
        ours = (counts.n_tp, counts.n_fp, counts.n_fn, counts.iou_sum)
        assert tuple(value[label] for value in ours) == pytest.approx((n_tp, n_fp, n_fn, iou_sum))


def loop(truth_pixels, truth, pixels, predicted, tau, label):
    n_tp = n_fp = n_fn = iou_sum = 0
    void = truth_pixels == 0
    own = [
        (truth_pixels == n, crowd)
        for n, c, crowd in zip(truth.ids, truth.classes, truth.crowd, strict=True)
        if c == label
    ]
    found = [
        pixels == n for n, c in zip(predicted.ids, predicted.classes, strict=True) if c == label
    ]

    def iou(mask, other):
        return (mask & other).sum() / ((mask | (other & ~void)).sum())

    for mask, crowd in own:
        best = max((iou(mask, other) for other in found), default=0)
        if crowd:
            continue
        if best > tau:
            n_tp, iou_sum = n_tp + 1, iou_sum + best
        else:
            n_fn += 1
    for other in found:
        if any(iou(mask, other) > tau for mask, crowd in own if not crowd):
            continue
        excused = void.copy()
        for mask, crowd in own:
            excused |= mask & crowd
        n_fp += (other & excused).sum() / other.sum() <= 0.5
    return n_tp, n_fp, n_fn, iou_sum


@pytest.fixture
def files(tmp_path):
    """gt.json, pred.json and their PNGs: one image of 4 x 2 with a thing and a stuff segment."""

    def write(name, ids, segments_info):
        folder = tmp_path / name
        folder.mkdir()
        colours = np.zeros((*np.shape(ids), 3), np.uint8)
        colours[..., 0] = ids
        Image.fromarray(colours).save(folder / "1.png")
        entry = {"image_id": 7, "file_name": "1.png", "segments_info": segments_info}
        content = {
            "annotations": [entry],
            "categories": [
                {"id": 3, "name": "cat", "isthing": 1},
                {"id": 5, "name": "sky", "isthing": 0},
            ],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return content

    ids = [[1, 1, 2, 2], [1, 1, 2, 2]]
    both = [{"id": 1, "category_id": 3}, {"id": 2, "category_id": 5}]
    write("gt", ids, both)
    content = write("pred", ids, both)
    return tmp_path, content


def run(folder, *more):
    paths = ["--gt", f"{folder}/gt.json", "--dt", f"{folder}/pred.json"]
    return main(["evaluate-panoptic", *paths, *more])


def test_command_writes_metrics_and_classes(files, capsys):
    folder, _ = files
    out, per_class = folder / "metrics.json", folder / "classes.csv"
    assert run(folder, "--out", str(out), "--per-class", str(per_class)) == 0
    metrics = json.loads(out.read_text())
    assert metrics["All"] | {"N": 2} == metrics["All"]
    assert (metrics["Things"]["PQ"], metrics["Stuff"]["LRP"]) == (1, 0)
    assert per_class.read_text().splitlines()[1].startswith("3,cat,1,1.0")
    assert "Stuff (1 classes)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            lambda c: c["annotations"].clear(), "no entry for image_id 7", id="image missing"
        ),
        pytest.param(
            lambda c: c["annotations"][0]["segments_info"].pop(),
            r"annotations\[0\].segments_info: does not list segment 2 of 1.png",
            id="segment not listed",
        ),
        pytest.param(
            lambda c: c["annotations"][0]["segments_info"].append({"id": 9, "category_id": 3}),
            r"segments_info\[2\].id: got 9, must be a colour in 1.png",
            id="segment not painted",
        ),
        pytest.param(
            lambda c: c["annotations"][0]["segments_info"][1].update(category_id=4),
            r"segments_info\[1\].category_id: got 4, must be an id listed in categories",
            id="unknown category",
        ),
        pytest.param(
            lambda c: c["annotations"][0].update(file_name="2.png"),
            r"annotations\[0\].file_name: got .*, must be a readable PNG .*2.png",
            id="no such PNG",
        ),
        pytest.param(
            lambda c: c["annotations"][0].update(file_name="../gt/1.png"),
            r"annotations\[0\].file_name: got '../gt/1.png', must be the name of a PNG",
            id="outside the folder",
        ),
        pytest.param(
            lambda c: c["annotations"][0].update(image_id=[7]),
            r"annotations\[0\].image_id: got \[7\], must be an integer",
            id="a list for the only id",
        ),
        pytest.param(
            lambda c: c["annotations"][0].pop("segments_info"),
            r"annotations\[0\].segments_info: is missing",
            id="no segments",
        ),
    ],
)
def test_bad_predictions_are_named(files, spoil, message):
    folder, content = files
    spoil(content)
    (folder / "pred.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        evaluate_panoptic(folder / "gt.json", folder / "pred.json")
    assert run(folder, "--out", str(folder / "metrics.json")) == 2
    assert not (folder / "metrics.json").exists()


def test_a_picture_of_another_size_is_refused(files):
    folder, _ = files
    Image.new("RGB", (2, 2), (1, 0, 0)).save(folder / "pred/1.png")
    with pytest.raises(InputError, match=r"shape \(2, 2\).*ground truth's shape \(2, 4\)"):
        evaluate_panoptic(folder / "gt.json", folder / "pred.json")


def test_tau_below_a_half_is_refused(files):
    folder, _ = files
    with pytest.raises(InputError, match=r"tau must be in \[0.5, 1\)"):
        evaluate_panoptic(folder / "gt.json", folder / "pred.json", tau=0.4)
