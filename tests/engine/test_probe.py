import pytest
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.engine.probe import count_operations, measure_pace


@pytest.fixture(scope="module")
def run(repository):
    return resolve_run(
        load_experiments(repository, check_runs=False), "retinanet_r50_smooth_l1", "shapes"
    )


def test_operations_of_a_convolutional_detector_are_in_proportion_to_the_canvas(run):
    # 96 x 96 and, in steps of 32, 64 x 96: every map has 2/3 of the cells.
    whole, part = (count_operations(run, 8, size) for size in ((96, 96), (64, 96)))
    assert 0 < part == whole * 2 / 3


def test_a_pace_needs_neither_data_nor_weights(run):
    on_four = run.model_copy(update={"hardware": run.hardware.model_copy(update={"devices": 4})})
    pace = measure_pace(on_four, 8, (96, 96), iterations=1)
    assert pace.seconds_per_iteration > pace.seconds_per_image > 0
