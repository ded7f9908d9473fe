"""Plans against arithmetic: what is known of other jobs is given, what comes out is worked out."""

import json
from pathlib import Path

import pytest
from rebalance.cli import main
from rebalance.data.sources import SOURCES
from rebalance.errors import InputError
from rebalance.planning.jobs import Jobs
from rebalance.planning.measured import Measured, iteration_of, network_of
from rebalance.planning.plan import Plan, wall_seconds

RUN, KIN, OTHER = "retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1", "mask_rcnn"
TABLE = "focal_eiou_table_1"
ITERATIONS, VAL = 240, 200  # of these runs, and images of `shapes`
START = 5.0  # seconds, where no probe tells


def write(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_networks(jobs, **operations):
    write("results/probe/networks.json", {
        network_of(jobs.run(run)): {"operations": count, "parameters": 1000}
        for run, count in operations.items()
    })  # fmt: skip


def write_speed(run, seconds, images_per_second=50.0, device="CPU (test)"):
    content = {"device": device, "train_seconds_per_iter": seconds}
    content["images_per_second"] = images_per_second
    write(f"results/shapes/runs/{run}/seed0/speed.json", content)


def write_benchmark(rule, run, seconds, name="seed3"):
    write(f"logs/shapes/{rule}/{run}/{name}.tsv", f"s\th:m:s\n{seconds}\t0:00:01\n")


def seconds_of(jobs, rule, run, seed=0):
    folder = f"results/shapes/runs/{run}/seed{seed}"
    file = {"train": "model.safetensors", "predict": "default/detections.json"}[rule]
    return Plan(jobs, Measured(jobs)).seconds(jobs.maker(f"{folder}/{file}"))


@pytest.mark.parametrize(
    ("tasks", "devices", "expected"),
    [
        pytest.param([], 2, 0, id="nothing"),
        pytest.param([(1, 3), (1, 2), (1, 1)], 1, 6, id="one after the other: 3 + 2 + 1"),
        pytest.param([(1, 1), (1, 2), (1, 3)], 2, 3, id="3 beside 2 + 1"),
        pytest.param([(2, 4), (1, 3), (1, 3)], 2, 7, id="both for 4, then 3 beside 3"),
        pytest.param([(2, 4), (1, 5)], 2, 9, id="5 alone first, then both for 4"),
    ],
)
def test_wall_time_is_that_of_the_longest_first(tasks, devices, expected):
    assert wall_seconds(tasks, devices) == expected


def test_a_training_larger_than_the_machine_is_refused():
    with pytest.raises(InputError, match="--gpus: a training takes 4 devices, got 2"):
        wall_seconds([(4, 1.0)], 2)


def test_a_training_takes_its_iterations_at_the_speed_measured(jobs):
    write_networks(jobs, **{RUN: 7})
    write_speed(RUN, 0.25, images_per_second=40)
    assert seconds_of(jobs, "train", RUN) == ITERATIONS * 0.25 + START
    assert seconds_of(jobs, "predict", RUN) == VAL / 40 + START


def test_a_benchmark_of_another_seed_says_it_all(jobs):
    write_speed(RUN, 0.25)
    write_benchmark("train", RUN, 99.5)
    assert seconds_of(jobs, "train", RUN) == 99.5


def test_the_last_part_of_a_training_in_several_says_nothing(jobs):
    write_speed(RUN, 0.25)
    write_benchmark("train", RUN, 9.5)
    write(f"logs/shapes/train/{RUN}/seed3.log", "going on after iteration 200\n")
    assert seconds_of(jobs, "train", RUN) == ITERATIONS * 0.25 + START


def test_another_run_of_the_detector_counts_by_the_operations_of_both(jobs):
    assert network_of(jobs.run(RUN)) == network_of(jobs.run(KIN))  # only their losses differ
    write_networks(jobs, **{RUN: 7})
    write_speed(KIN, 0.25)
    assert seconds_of(jobs, "train", RUN) == ITERATIONS * 0.25 + START


def test_another_detector_counts_by_operations_a_second(jobs):
    images = {run: jobs.run(run).schedule.batch_size for run in (RUN, OTHER)}
    write_networks(jobs, **{RUN: 1000, OTHER: 3000})
    write_speed(RUN, 0.25)
    per_iteration = 0.25 * 3 * images[OTHER] / images[RUN]
    iterations = jobs.run(OTHER).schedule.iterations
    expected = iterations * per_iteration + START
    assert seconds_of(jobs, "train", OTHER) == pytest.approx(expected)


def test_a_probe_counts_while_settings_are_those_probed(jobs):
    write_networks(jobs, **{RUN: 7})
    entry = {"iteration": iteration_of(jobs.run(RUN)), "seconds_per_iteration": 0.5}
    entry["seconds_per_image"] = 0.1
    probe = {"device": "GPU", "seconds_to_start": 2.0, "paces": {"shapes": {RUN: entry}}}
    write("results/probe/GPU.json", probe)
    assert seconds_of(jobs, "train", RUN) == ITERATIONS * 0.5 + 2
    entry["iteration"] = "of other settings"
    write("results/probe/GPU.json", probe)
    assert seconds_of(jobs, "train", RUN) is None


def test_one_of_several_devices_is_to_be_named(jobs):
    for name in ("A", "B"):
        write(f"results/probe/{name}.json", {"device": name, "seconds_to_start": 1, "paces": {}})
    with pytest.raises(InputError, match="name one by --device: A, B"):
        Measured(jobs)
    assert Measured(jobs, "B").probe["device"] == "B"
    with pytest.raises(InputError, match=r"must be one that was probed \(A, B\)"):
        Measured(jobs, "C")


def test_costs_of_a_table_by_hand(jobs, make):
    target = jobs.experiments.target(TABLE)
    write_networks(jobs, **{RUN: 7})
    write_speed(RUN, 0.5, images_per_second=100)
    for rule, seconds in (("evaluate", 4.0), ("figure", 2.0)):
        write_benchmark(rule, "any", seconds, name="seed0.default")
    (data,) = (job for job in jobs.missing([target]) if job.rule == "shapes")
    make(data)
    costs = Plan(jobs, Measured(jobs), gpus=1).costs([target])
    training, prediction = ITERATIONS * 0.5 + START, VAL / 100 + START
    assert (costs.trainings, costs.jobs) == (3, 3 * 3 + 1)
    assert costs.queue_jobs == 3 + 3 + 1  # an evaluation goes with its prediction
    on_cores = 3 * (training + prediction + 4.0) + 5.0  # and the page
    assert costs.gpu_hours == pytest.approx(on_cores / 3600)
    assert costs.wall_hours == pytest.approx(on_cores / 3600)
    assert (costs.downloads, costs.unknown) == (0, [])


def test_what_is_made_costs_nothing(jobs, make):
    target = jobs.experiments.target(TABLE)
    write_networks(jobs, **{RUN: 7})
    first = next(job for job in jobs.missing([target]) if job.rule == "train")
    plan = Plan(jobs, Measured(jobs))
    before = plan.costs([target])
    make(first)
    assert plan.costs([target]).trainings == before.trainings - 1
    make(jobs.page(target))
    assert plan.costs([target]).jobs == 0


def test_downloads_are_those_of_the_data_and_of_the_backbone(jobs, experiments):
    paper = Jobs(experiments, "paper")
    missing = paper.missing([experiments.target(TABLE)])
    downloads = {job.source for job in missing if job.rule == "download"}
    coco = {"coco_train2017", "coco_val2017", "coco_annotations_trainval2017"}
    assert downloads == coco | {"resnet50"}
    write("results/probe/networks.json", {
        network_of(paper.run(str(job.run))): {"operations": 1, "parameters": 36_000_000}
        for job in missing if job.run
    })  # fmt: skip
    costs = Plan(paper, Measured(paper)).costs([experiments.target(TABLE)])
    assert costs.download_gb * 1e9 == sum(SOURCES[name].size for name in coco)
    assert costs.disk_gb > 2 * costs.download_gb + 3 * 0.144  # unpacked, too; and three models
    assert len(costs.unknown) == 3


def test_an_unknown_target_is_answered_in_one_line(jobs, repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    for command in ("plan", "status"):
        assert main([command, "focal_eiou_tabel_1"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"rebalance {command}: no target named 'focal_eiou_tabel_1' (did you mean '{TABLE}'?)"
        )
