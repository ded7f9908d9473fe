"""States of jobs, from files as the jobs leave them."""

from pathlib import Path

import pytest
from rebalance.locks import locked
from rebalance.planning.status import as_json, find_states, table

TABLE, RUN = "focal_eiou_table_1", "retinanet_r50_smooth_l1"
FOLDER = Path(f"results/shapes/runs/{RUN}/seed0")
BAR = "{0}:  10%|█| 24/240 [00:12<01:48,  2.00it/s, loss=1.5]"


@pytest.fixture
def table_states(jobs):
    """What `rebalance status` finds of a table, by the names of jobs."""

    def find():
        target = jobs.experiments.target(TABLE)
        states = find_states(jobs, [target])
        found = {entry["job"]: entry for entry in as_json(jobs, [target], states)["jobs"]}
        return found, table(jobs, [target], states)

    return find


def log_of(rule, name="seed0.log", text=""):
    path = Path(f"logs/shapes/{rule}/{RUN}/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def training(found):
    return found[f"train {RUN} seed 0"]


def test_where_nothing_has_begun_everything_waits(table_states):
    found, text = table_states()
    assert {entry["state"] for entry in found.values()} == {"waiting"}
    assert text.splitlines()[0].split() == ["made", "running", "failed", "waiting"]
    assert text.splitlines()[1].split() == [TABLE, "0", "0", "0", str(len(found))]


def test_a_training_that_holds_its_folder_runs(table_states):
    FOLDER.mkdir(parents=True)
    rows = "".join(f"{iteration},0.1,1.5\n" for iteration in range(1, 41))
    (FOLDER / "log.unfinished.csv").write_text("iteration,lr,loss\n" + rows + "41,0.")
    log_of("train", text=BAR.format(RUN))
    with locked(FOLDER / ".lock", "training"):
        found, text = table_states()
    entry = training(found)
    assert (entry["state"], entry["done"], entry["total"]) == ("running", 40, 240)
    assert entry["seconds_left"] == (240 - 40) / 2.0
    assert f"running: train {RUN} seed 0, 40 of 240, 2 min left; process " in text


def test_a_stopped_training_waits_where_it_is(table_states):
    FOLDER.mkdir(parents=True)
    (FOLDER / "log.unfinished.csv").write_text("iteration,lr,loss\n1,0.1,1.5\n")
    said = "stopped after iteration 1 with a checkpoint; start again to go on\n"
    log_of("train", text="12:00:00 " + said)
    entry = training(table_states()[0])
    assert (entry["state"], entry["done"]) == ("waiting", 1)
    log_of("train", text=BAR.format(RUN))  # killed: it could not say anything
    assert training(table_states()[0])["state"] == "waiting"


def test_a_failed_training_is_shown_with_its_last_lines(table_states):
    log = log_of("train", text=BAR.format(RUN) + "\rrebalance train: iteration 7: loss is nan\n")
    found, text = table_states()
    assert training(found)["state"] == "failed"
    assert training(found)["says"] == "rebalance train: iteration 7: loss is nan"
    assert f"see {log}\n  rebalance train: iteration 7: loss is nan" in text


def test_a_page_fails_with_what_its_cell_says(table_states):
    log = Path("logs/shapes/focal_eiou/table_1.log")
    log.parent.mkdir(parents=True)
    log.write_text("rebalance render: ValueError: no rows\n")
    found, _ = table_states()
    assert found[f"table {TABLE}"]["state"] == "failed"
    assert found[f"table {TABLE}"]["says"] == "rebalance render: ValueError: no rows"


def test_a_prediction_runs_while_it_says_so(table_states):
    log_of("predict", "seed0.default.log", BAR.format("prediction"))
    entry = table_states()[0][f"predict {RUN} seed 0 default"]
    assert (entry["state"], entry["seconds_left"]) == ("running", 216 / 2.0)


def test_what_is_made_is_counted(table_states, jobs, make):
    target = jobs.experiments.target(TABLE)
    make(*(job for job in jobs.missing([target]) if job.rule == "train"))
    found, text = table_states()
    assert not any(name.startswith("train") for name in found)
    assert text.splitlines()[1].split()[:2] == [TABLE, "3"]
