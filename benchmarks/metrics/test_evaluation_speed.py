"""Evaluation of a COCO-val-size problem beside faster-coco-eval and pycocotools, in one run.

pytest benchmarks/metrics --benchmark-only
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EVALUATORS = ("rebalance", "faster-coco-eval", "pycocotools")


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco_val_problem")
    subprocess.run([sys.executable, HERE / "coco_val_problem.py", folder], check=True)
    return folder / "gt.json", folder / "dt.json"


@pytest.fixture(scope="module")
def results():
    """Evaluator -> what evaluate_once.py measured; filled by the benchmarks in order."""
    return {}


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_evaluator(benchmark, problem, results, evaluator):
    def run():
        command = [sys.executable, HERE / "evaluate_once.py", evaluator, *problem]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(output)

    results[evaluator] = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info.update(results[evaluator])


def test_targets(benchmark, results, capsys):
    """AP and LRP within 1.25x of faster-coco-eval's AP, 6x faster and leaner than pycocotools."""
    benchmark.pedantic(lambda: None, rounds=1)
    ours = results["rebalance"]
    with capsys.disabled():
        print(f"\n{'':18}{'seconds':>9}{'ratio':>8}{'peak MiB':>10}{'AP':>10}")
        for name, result in results.items():
            print(
                f"{name:18}{result['seconds']:9.1f}{result['seconds'] / ours['seconds']:7.1f}x"
                f"{result['peak_mib']:10.0f}{result['AP']:10.6f}"
            )
    for result in results.values():
        assert result["AP"] == pytest.approx(ours["AP"], abs=1e-12)
    assert ours["seconds"] <= 1.25 * results["faster-coco-eval"]["seconds"]
    assert 6 * ours["seconds"] <= results["pycocotools"]["seconds"]
    assert ours["peak_mib"] < results["pycocotools"]["peak_mib"]
