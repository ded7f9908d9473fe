"""What is kept between processes, and what makes it forgotten."""

import shutil

import pytest
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.memory import FILE, Memory
from rebalance.errors import InputError


@pytest.fixture
def root(tmp_path, repository):
    for folder in ("config", "notebooks"):
        shutil.copytree(repository / folder, tmp_path / folder)
    (tmp_path / FILE).parent.mkdir()
    return tmp_path


def test_what_is_recalled_is_what_the_files_say(root):
    memory = Memory(root)
    read = load_experiments(root, memory=memory)
    runs = {
        name: memory.recall(name, lambda name=name: resolve_run(read, name, "shapes"))
        for name in read.runs
    }
    memory.save()
    again = Memory(root)
    assert load_experiments(root, memory=again) == read == load_experiments(root, check_runs=False)
    assert {name: again.recall(name, pytest.fail) for name in read.runs} == runs
    given = {"scale": "paper", "data": "elsewhere"}
    assert load_experiments(root, given, memory=again).settings.data == "elsewhere"
    with pytest.raises(InputError, match="did you mean 'shapes'"):
        load_experiments(root, {"scale": "shape", "data": "data"}, memory=again)


@pytest.mark.parametrize("file", ["config/papers/ggiou.yaml", "notebooks/table.ipynb"])
def test_a_change_of_a_file_is_a_new_beginning(root, file):
    memory = Memory(root)
    memory.recall("what", lambda: 1)
    memory.save()
    assert Memory(root).recall("what", lambda: 2) == 1
    (root / file).write_text((root / file).read_text() + "\n")
    assert Memory(root).recall("what", lambda: 2) == 2


def test_a_damaged_file_is_a_new_beginning(root):
    memory = Memory(root)
    memory.recall("what", lambda: 1)
    memory.save()
    content = bytearray((root / FILE).read_bytes())
    content[-3] ^= 1
    (root / FILE).write_bytes(content)
    assert Memory(root).recall("what", lambda: 2) == 2


def test_what_is_of_some_files_outlives_a_change_of_others(root):
    memory = Memory(root)
    for of in ("everything", "configuration", "library"):
        memory.recall(of, lambda: 1, of)
    memory.save()
    (root / "config" / "released.yaml").write_text("# changed\n")
    changed = Memory(root)
    again = {
        of: changed.recall(of, lambda: 2, of) for of in ("everything", "configuration", "library")
    }
    assert again == {"everything": 2, "configuration": 2, "library": 1}


def test_what_no_file_is_behind_any_more_is_not_kept(root):
    memory = Memory(root)
    memory.recall("what", lambda: "x" * 10_000)
    memory.save()
    size = (root / FILE).stat().st_size
    (root / "notebooks" / "new.ipynb").write_text("{}")
    changed = Memory(root)
    changed.recall("other", lambda: 1)
    changed.save()
    assert (root / FILE).stat().st_size < size - 9_000
