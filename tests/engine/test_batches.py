"""Schedules, seeds and batch plans: pure functions of the iteration."""

import math
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.detectors.canvas import canvas_of
from rebalance.engine.batches import (
    part_of_rank,
    prediction_batches,
    resized_size,
    training_batches,
)
from rebalance.engine.schedule import learning_rate
from rebalance.engine.seeds import keyed_rng, seed_of
from rebalance.engine.transforms import KeepRatio, Square
from rebalance.errors import InputError

STEP = {"lr": 0.1, "iterations": 100, "warmup": {"iterations": 10, "factor": 0.2},
        "decay": {"name": "step", "at": [60, 80], "factor": 0.1}}  # fmt: skip
COSINE = {**STEP, "decay": {"name": "cosine", "final": 0.1}}


@pytest.mark.parametrize(("schedule", "iteration", "expected"), [
    pytest.param(STEP, 0, 0.02, id="start of warm-up: a fifth"),
    pytest.param(STEP, 5, 0.06, id="half way from 0.2 to 1"),
    pytest.param(STEP, 10, 0.1, id="warm"),
    pytest.param(STEP, 59, 0.1, id="before the step"),
    pytest.param(STEP, 60, 0.01, id="after the first step"),
    pytest.param(STEP, 99, 0.001, id="after the second"),
    pytest.param(COSINE, 50, 0.1 * 0.55, id="half of the way from 1 to 0.1"),
    pytest.param(COSINE, 100, 0.01, id="final share"),
    pytest.param(COSINE, 0, 0.02, id="cosine starts at 1, times warm-up"),
])  # fmt: skip
def test_learning_rate_by_hand(schedule, iteration, expected):
    assert learning_rate(iteration, schedule) == pytest.approx(expected)


def test_unknown_decay_is_refused():
    with pytest.raises(InputError, match=r"schedule.decay.name must be one of .*got 'linear'"):
        learning_rate(0, {**STEP, "decay": {"name": "linear"}})


def test_seeds_differ_by_every_part_of_the_key_and_fit_torch():
    seeds = {seed_of(seed, iteration, image, purpose) for seed in range(3) for iteration in range(9)
             for image in range(9) for purpose in ("flip", "sampling")}  # fmt: skip
    assert len(seeds) == 3 * 9 * 9 * 2
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(1, 23) != seed_of(12, 3)
    numbers = [torch.rand(3, generator=keyed_rng(0, k)) for k in (1, 1, 2)]
    assert numbers[0].equal(numbers[1])
    assert not numbers[0].equal(numbers[2])


@pytest.mark.parametrize(("size", "expected"), [
    pytest.param((480, 640), (800, 1067), id="800 / 480 = 1.667"),
    pytest.param((400, 1000), (533, 1333), id="the longer side would be 2000: 1333 / 1000"),
    pytest.param((1000, 400), (1333, 533), id="the same, turned"),
    pytest.param((1, 5000), (1, 1333), id="a side of 0.27 pixels becomes 1"),
])  # fmt: skip
def test_resized_sizes_by_hand(size, expected):
    assert resized_size(size, 800, 1333) == expected


def test_canvas_is_the_largest_height_and_width_in_steps_of_32():
    assert canvas_of([(33, 64), (10, 65)]) == (64, 96)


def test_square_images_are_their_own_canvas():
    plans = list(prediction_batches([(550, 550)] * 3, 2, Square(550).canvas_step))
    assert [plan.canvas for plan in plans] == [(550, 550)] * 2
    assert canvas_of([(550, 550)], KeepRatio(550, 550).canvas_step) == (576, 576)


sizes = st.lists(st.sampled_from([(64, 96), (96, 64), (64, 64)]), min_size=1, max_size=30)


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(1, 7), st.integers(0, 3), st.integers(0, 20))
def test_batches_are_pure_full_and_of_one_aspect(sizes, batch_size, seed, start):
    plans = list(islice(training_batches(sizes, batch_size, seed), 30))
    assert [plan.iteration for plan in plans] == list(range(30))
    assert plans[start:] == list(
        islice(training_batches(sizes, batch_size, seed, start), 30 - start)
    )
    for plan in plans:
        assert len(plan.indices) == batch_size
        assert len({sizes[index][1] >= sizes[index][0] for index in plan.indices}) == 1
        assert plan.canvas == canvas_of([sizes[index] for index in plan.indices])


def test_a_size_drawn_in_each_iteration_decides_the_canvas():
    sizes = [(64, 96)] * 8
    plans = list(
        islice(training_batches(sizes, 4, seed=0, size_of=lambda i, n: (32 + 32 * n, 40 + i)), 3)
    )
    for plan in plans:
        widest = 40 + max(plan.indices)
        assert plan.canvas == canvas_of([(32 + 32 * plan.iteration, widest)])
    later = training_batches(sizes, 4, seed=0, start=2, size_of=lambda i, n: (32 + 32 * n, 40 + i))
    assert next(later) == plans[2]


def test_every_image_is_used_equally_often_within_one():
    sizes = [(64, 96)] * 10 + [(96, 64)] * 3
    plans = islice(training_batches(sizes, 4, seed=0), 200)
    counts = torch.zeros(13)
    for plan in plans:
        for index in plan.indices:
            counts[index] += 1
    # 800 places for 13 images; at most one batch per group is still waiting
    assert counts.max() - counts.min() <= math.ceil(4 / 3)


def test_ranks_share_a_batch_and_its_canvas():
    plan = next(training_batches([(64, 96), (60, 90), (33, 40), (64, 70)], 4, seed=1))
    parts = [part_of_rank(plan, rank, 2) for rank in range(2)]
    assert parts[0].indices + parts[1].indices == plan.indices
    assert {part.canvas for part in parts} == {plan.canvas}


def test_prediction_batches_hold_every_image_once_with_its_like():
    sizes = [(64, 96), (96, 64), (64, 96), (64, 96), (50, 50)]
    plans = list(prediction_batches(sizes, 2))
    assert [plan.indices for plan in plans] == [(0, 2), (3,), (1,), (4,)]
    assert plans[-1].canvas == (64, 64)
