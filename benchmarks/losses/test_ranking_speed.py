"""Ranking losses beside a loop over positives and beside focal loss: time, growth, memory.

pytest benchmarks/losses --benchmark-only
"""

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from batches import Batch

HERE = Path(__file__).parent
NEGATIVES, POSITIVES = 400_000, 2_000
ROUNDS = {"focal": 20, "rank_sort": 10, "alrp": 10, "ap": 10}  # the loops run once

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def one_thread():
    """The work of a loss: focal loss shares it out over all cores, searches do so less."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def batch():
    return Batch(NEGATIVES, POSITIVES)


@pytest.fixture(scope="module")
def seconds():
    """Name -> shortest time, filled by the benchmarks in order."""
    return {}


@pytest.mark.benchmark(group="ranking losses: 400,000 negatives, 2,000 positives")
@pytest.mark.parametrize("name", [*ROUNDS, "rank_sort by loop", "alrp by loop"])
def test_forward_and_backward(benchmark, batch, seconds, name):
    rounds = ROUNDS.get(name, 1)
    benchmark.pedantic(batch.passes()[name], rounds=rounds, warmup_rounds=int(rounds > 1))
    seconds[name] = benchmark.stats["min"]


def test_the_loop_computes_the_same(benchmark):
    small = Batch(2_000, 50)
    passes = benchmark.pedantic(small.passes, rounds=1)
    for name in ("rank_sort", "alrp"):
        torch.testing.assert_close(passes[name](), passes[f"{name} by loop"]())


def test_ratios(benchmark, seconds, capsys):
    """The shortest times beside each other; `table.py` lets the losses take turns."""
    benchmark.pedantic(lambda: None, rounds=1)
    with capsys.disabled():
        print(f"\n{'':20}{'ms':>9}{'x focal':>9}{'faster than its loop':>22}")
        for name, of_loss in seconds.items():
            loop = seconds.get(f"{name} by loop")
            faster = f"{loop / of_loss:21.0f}x" if loop else ""
            ratio = of_loss / seconds["focal"]
            print(f"{name:20}{of_loss * 1e3:9.1f}{ratio:9.1f}{faster}")


def shortest(call, rounds: int = 5) -> float:
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def growth(sizes: list[tuple[int, int]], name: str) -> float:
    """Exponent k of time ~ size^k between the first and the last size."""
    first, last = (shortest(Batch(*size).passes()[name]) for size in (sizes[0], sizes[-1]))
    factor = math.prod(sizes[-1]) / math.prod(sizes[0])
    return math.log(last / first) / math.log(factor)


@pytest.mark.parametrize("name", ["rank_sort", "alrp"])
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([(10_000, 1_000), (1_000_000, 1_000)], id="negatives"),
        pytest.param([(100_000, 100), (100_000, 10_000)], id="positives"),
    ],
)
def test_cost_grows_near_linearly(benchmark, name, sizes):
    exponent = benchmark.pedantic(growth, (sizes, name), rounds=1)
    benchmark.extra_info["exponent"] = exponent
    assert exponent < 1.2


@pytest.mark.parametrize("name", ["rank_sort", "alrp", "ap"])
def test_a_logit_takes_16_bytes_at_most(benchmark, name):
    negatives = 10_000_000
    command = [sys.executable, HERE / "peak_memory.py", name, str(negatives), "5000"]
    result = benchmark.pedantic(
        subprocess.run, (command,), {"check": True, "capture_output": True, "text": True}, rounds=1
    )
    bytes_per_logit = float(result.stdout) * 2**20 / negatives
    benchmark.extra_info["bytes_per_logit"] = bytes_per_logit
    assert 0 < bytes_per_logit < 16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["rank_sort", "alrp"])
def test_on_cuda_without_synchronisation_within_3_times_of_focal_loss(benchmark, name):
    passes = Batch(1_000_000 - POSITIVES, POSITIVES, device="cuda").passes(check=False)

    def synchronised(name: str) -> None:
        passes[name]()
        torch.cuda.synchronize()

    focal = shortest(lambda: synchronised("focal"), rounds=20)
    passes[name]()
    torch.cuda.set_sync_debug_mode("error")
    try:
        passes[name]()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    benchmark.pedantic(synchronised, (name,), rounds=20)
    assert benchmark.stats["min"] < 3 * focal
