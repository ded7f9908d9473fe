"""The online video detector of thesis H.1, by hand."""

import numpy as np
import pytest
from rebalance.errors import InputError
from rebalance.video.linking import Linking, bayes_update, link_detections
from rebalance.video.tracking import ConstantVelocity


def frames(count, video=0, first=1):
    return [{"id": first + n, "video_id": video, "frame": n} for n in range(count)]


def seen(image, x, score, category=1, y=0.0):
    return {"image_id": image, "category_id": category, "bbox": [x, y, 10.0, 10.0], "score": score}


def scores(results, settings=None, images=None):
    linked = link_detections(images or frames(3), results, settings or Linking())
    return [(r["image_id"], r["bbox"][0], round(r["score"], 4)) for r in linked]


@pytest.mark.parametrize(
    ("prior", "likelihood", "posterior"),
    [(0.6, 0.6, 0.36 / (0.36 + 0.16)), (0.5, 0.7, 0.7), (0.9, 0.1, 0.5), (1.0, 0.6, 1.0)],
)
def test_bayes_rule_by_hand(prior, likelihood, posterior):
    assert bayes_update(prior, likelihood) == pytest.approx(posterior, abs=1e-5)


def test_scores_of_linked_detections_rise_and_those_below_the_threshold_go():
    results = [seen(1, 0, 0.6), seen(2, 1, 0.6), seen(1, 50, 0.4)]
    assert scores(results) == [(1, 0.0, 0.6), (2, 1.0, 0.6923)]


def test_a_class_has_the_threshold_of_its_own():
    results = [seen(1, 0, 0.4), seen(1, 50, 0.4, category=2)]
    assert scores(results, Linking(thresholds={2: 0.3})) == [(1, 50.0, 0.4)]


def test_the_assignment_is_the_cheapest_together_not_the_nearest_each():
    """Both are nearest to the first object; linked so that none is left over (IoU 9/11, 4/16)."""
    first = [seen(1, 0, 0.9), seen(1, 5, 0.9)]
    second = [seen(2, 1, 0.6), seen(2, -1, 0.6)]
    linked = scores(first + second)
    assert [score for image, _, score in linked if image == 2] == [0.9310, 0.9310]


def test_another_class_or_another_video_is_not_linked():
    other = [seen(1, 0, 0.6), seen(2, 0, 0.6, category=2)]
    assert [score for *_, score in scores(other)] == [0.6, 0.6]
    images = [*frames(1), *frames(1, video=1, first=2)]
    assert [s for *_, s in scores([seen(1, 0, 0.6), seen(2, 0, 0.6)], images=images)] == [0.6, 0.6]


def test_a_dominant_object_is_searched_for_again_where_the_tracker_expects_it():
    """It moves 4 px a frame: a weak detection counts at x = 8, and none at x = 0."""
    start = [seen(1, 0, 0.7), seen(2, 4, 0.7)]  # 0.7 -> 0.8448: not 0.20 more
    strong = [seen(1, 0, 0.9), seen(2, 4, 0.6)]  # 0.6 -> 0.9310: dominant
    assert len(scores([*start, seen(3, 8, 0.2)])) == 2
    updated = 0.9310344 * 0.2 / (0.9310344 * 0.2 + 0.0689656 * 0.8)
    assert scores([*strong, seen(3, 8, 0.2)])[-1] == (3, 8.0, round(updated, 4))
    assert len(scores([*strong, seen(3, 0, 0.2)])) == 2
    assert len(scores([*strong, seen(3, 8, 0.2, category=2)])) == 2


def test_the_tracker_moves_on_as_the_object_moved_last():
    tracker = ConstantVelocity.at(np.array([0.0, 0, 10, 10]))
    assert tracker.predict().tolist() == [0, 0, 10, 10]
    tracker.update(np.array([3.0, 1, 13, 11]))
    assert tracker.predict().tolist() == [6, 2, 16, 12]


def test_no_detections_are_an_answer_and_bad_input_is_named():
    assert link_detections(frames(2), [], Linking()) == []
    with pytest.raises(InputError, match=r"images\[0\]: has no video_id"):
        link_detections([{"id": 1}], [], Linking())
    with pytest.raises(InputError, match=r"results\[0\].image_id: 9 is no image"):
        link_detections(frames(2), [seen(9, 0, 0.9)], Linking())
