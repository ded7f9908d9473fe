import ast
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from rebalance.cli import main
from rebalance.config.experiments import load_experiments
from rebalance.errors import InputError
from rebalance.figures.checks import read_checks
from rebalance.report.index import write_index
from rebalance.report.notebooks import check_parameters, declared_parameters, run_notebook
from rebalance.report.page import page_css, render_page
from rebalance.report.place import place_of

PARAMETERS = 'name = "a"\nnumber = 1\nweight = 0.5\npaths = ["x"]\nflag = False'
GIVEN = {"name": "b", "number": 2, "weight": 1, "paths": [], "flag": True}


def write_notebook(path, *sources, parameters=PARAMETERS, tags=("parameters",)):
    cells = [
        new_markdown_cell("# Question", metadata={"tags": ["notebook-only"]}),
        new_code_cell(parameters, metadata={"tags": list(tags)}),
        *(new_code_cell(source) for source in sources),
    ]
    path.write_text(nbformat.writes(new_notebook(cells=cells)))
    return path


def run(notebook, given, tmp_path):
    """Run the command; its exit code, the executed notebook and the page."""
    parameters = tmp_path / "parameters.json"
    parameters.write_text(json.dumps(given))
    executed, html = tmp_path / "out" / "executed.ipynb", tmp_path / "out" / "page.html"
    command = ["notebook", str(notebook), "--parameters", str(parameters)]
    code = main([*command, "--executed", str(executed), "--html", str(html)])
    return code, executed, html


def outputs(executed):
    cells = nbformat.read(executed, as_version=4).cells
    return [output for cell in cells for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def executed_twice(tmp_path_factory):
    """One small notebook, run two times: its outputs, and their bytes."""
    folder = tmp_path_factory.mktemp("twice")
    notebook = write_notebook(
        folder / "small.ipynb",
        "import sys\nprint(sys.executable)\nprint(name, number, weight, paths, flag)",
        "import os\nprint(os.environ['IPYTHONDIR'] != '', {'b', 'a', 'c'})",
        "from IPython.display import HTML\nHTML('<b>shown</b>')",
    )
    runs = []
    for name in ("first", "second"):
        executed, html = folder / name / "executed.ipynb", folder / name / "page.html"
        run_notebook(notebook, GIVEN, executed, html)
        runs.append((executed, html))
    return runs


def test_runs_with_the_given_parameters_in_the_running_python(executed_twice):
    executed, _ = executed_twice[0]
    printed = outputs(executed)[0].text.splitlines()
    assert printed == [sys.executable, "b 2 1 [] True"]


def test_page_shows_outputs_and_folds_code(executed_twice):
    _, html = executed_twice[0]
    text = html.read_text()
    assert "<b>shown</b>" in text
    assert '<details class="code"><summary>parameters</summary>' in text
    assert '>"x"<' not in text, "the page shows the given parameters, not the defaults"
    assert '>"b"<' in text
    assert "Question" not in text, "cells tagged notebook-only are left out"
    assert not re.search(r"(src|href)=\"(https?:)?//", text), "nothing comes from elsewhere"


def test_a_page_among_others_takes_its_look_from_beside_the_index(
    executed_twice, repository, tmp_path, monkeypatch
):
    """So that another style reaches it and no notebook is run again; alone it holds its own."""
    monkeypatch.chdir(tmp_path)
    experiments = load_experiments(repository, check_runs=False)
    target, results = experiments.target("focal_eiou_figure_2"), experiments.results("shapes")
    html = Path(target.outputs(results)["html"])
    executed, alone = executed_twice[0]
    page = render_page(executed, "T", place_of(experiments, target, results, html))
    assert "<style>" in alone.read_text()
    assert "<style>" not in page
    write_index({"scale": "shapes", "works": []}, results.folder / "index.html")
    links = re.findall(r'<(?:link|script) [^>]*?(?:href|src)="([^"]*)"', page)
    assert [Path(link).name for link in links] == ["style.css", "pages.js", "script.js"]
    look = "".join(Path(os.path.normpath(html.parent / link)).read_text() for link in links)
    assert page_css() in look
    assert "const PAGES" in look


def test_two_runs_are_the_same_bytes(executed_twice):
    for first, second in zip(*executed_twice, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_what_is_printed_is_one_text_in_however_many_parts_it_was_sent(tmp_path):
    """When a kernel sends is a matter of its clock: a busy machine once cut a line in two."""
    parts = """
import sys
from IPython.display import HTML, display
print("a", end="", flush=True)
print("b", flush=True)
print("wrong", file=sys.stderr, flush=True)
print("c")
display(HTML("<b>shown</b>"))
print("d")"""
    executed, html = tmp_path / "executed.ipynb", tmp_path / "page.html"
    run_notebook(write_notebook(tmp_path / "n.ipynb", parts), GIVEN, executed, html)
    streams = [(output.get("name"), output.get("text")) for output in outputs(executed)]
    shown = (None, None)
    assert streams == [("stdout", "ab\nc\n"), ("stderr", "wrong\n"), shown, ("stdout", "d\n")]
    assert html.read_text().count('<pre class="stream') == 3


def test_no_installed_kernel_is_needed(tmp_path, monkeypatch):
    """The notebook names a kernel that is nowhere installed, and no kernel can be found at all."""
    notebook = write_notebook(tmp_path / "n.ipynb", "print(number)")
    node = nbformat.read(notebook, as_version=4)
    node.metadata["kernelspec"] = {"name": "nowhere", "language": "r", "display_name": "R"}
    notebook.write_text(nbformat.writes(node))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("jupyter_client.kernelspec.jupyter_path", lambda *parts: [str(tmp_path)])
    run_notebook(notebook, GIVEN, tmp_path / "executed.ipynb")
    assert outputs(tmp_path / "executed.ipynb")[0].text == "2\n"


def test_a_kernel_that_has_sent_its_last_reply_ends_without_a_word(tmp_path, capfd):
    """The last thing it is asked is who it is; here it is long in coming back from the answer."""
    slow = """
import time
kernel = get_ipython().kernel
answer = kernel.shell_handlers["kernel_info_request"]
async def answer_slowly(*message):
    await answer(*message)
    time.sleep(2)
kernel.shell_handlers["kernel_info_request"] = answer_slowly"""
    notebook = write_notebook(tmp_path / "small.ipynb", slow)
    run_notebook(notebook, GIVEN, tmp_path / "executed.ipynb")
    assert capfd.readouterr() == ("", "")


def test_a_failing_cell_leaves_the_notebook_with_its_traceback(tmp_path, capsys):
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "print('before')",
        "raise KeyError('lost\\nand found')",
        "print('after')",
    )
    code, executed, html = run(notebook, GIVEN, tmp_path)
    assert code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"rebalance notebook: {notebook} failed at In [4]: KeyError: ")
    assert str(executed) in message
    kinds = [output.output_type for output in outputs(executed)]
    assert kinds == ["stream", "error"], "the cell before ran, the one after did not"
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "".join(outputs(executed)[1].traceback))
    assert "raise KeyError('lost" in traceback
    assert not html.exists()


def test_a_dead_kernel_is_one_message(tmp_path, capsys):
    notebook = write_notebook(tmp_path / "n.ipynb", "print('before')", "import os; os._exit(9)")
    code, executed, html = run(notebook, GIVEN, tmp_path)
    assert code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "the kernel died (out of memory?) at In [4]" in message
    assert outputs(executed)[0].text == "before\n"
    assert not html.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(GIVEN | {"nmae": "b"}, r"unknown parameters \['nmae'\]", id="unknown"),
        pytest.param({"name": "b"}, r"missing parameters \['flag', 'number'", id="missing"),
        pytest.param(GIVEN | {"number": "2"}, "'number' must be a int like 1, got '2'", id="text"),
        pytest.param(GIVEN | {"number": True}, "'number' must be a int", id="bool for int"),
        pytest.param(GIVEN | {"number": 1.0}, "'number' must be a int", id="float for int"),
        pytest.param(GIVEN | {"paths": "x"}, "'paths' must be a list", id="text for list"),
        pytest.param(GIVEN | {"paths": ["x", 1]}, r"'paths'\[1\] must be a str", id="element"),
        pytest.param(GIVEN | {"name": None}, "'name' must be a str", id="null"),
        pytest.param([], "must hold one object of parameters, got list", id="no object"),
    ],
)
def test_other_parameters_than_declared_are_refused(tmp_path, capsys, given, message):
    notebook = write_notebook(tmp_path / "n.ipynb")
    code, executed, _ = run(notebook, given, tmp_path)
    assert code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not executed.exists()


@pytest.mark.parametrize(
    ("parameters", "tags", "message"),
    [
        pytest.param(PARAMETERS, [], "exactly one code cell must have the tag", id="untagged"),
        pytest.param("a = 1 + b", ["parameters"], "line 1: only 'name = literal'", id="expression"),
        pytest.param("a = 1\nimport os", ["parameters"], "line 2: only", id="import"),
        pytest.param("a = b = 1", ["parameters"], "only 'name = literal'", id="two names"),
        pytest.param("a = 1\na = 2", ["parameters"], "'a' is assigned twice", id="twice"),
        pytest.param("a = ", ["parameters"], "not Python", id="syntax"),
    ],
)
def test_a_notebook_must_declare_its_parameters(tmp_path, parameters, tags, message):
    notebook = write_notebook(tmp_path / "n.ipynb", parameters=parameters, tags=tags)
    with pytest.raises(InputError, match=message) as caught:
        run_notebook(notebook, {"a": 1}, tmp_path / "executed.ipynb")
    assert str(notebook) in str(caught.value)


def test_what_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "text.ipynb").write_text("hello")
    with pytest.raises(InputError, match=r"text.ipynb: not a notebook"):
        declared_parameters(tmp_path / "text.ipynb")
    with pytest.raises(InputError, match="no such notebook"):
        declared_parameters(tmp_path / "gone.ipynb")


def test_a_folder_for_sockets_that_is_too_long_is_refused(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    notebook = write_notebook(tmp_path / "n.ipynb")
    with pytest.raises(InputError, match="too long for the sockets"):
        run_notebook(notebook, GIVEN, tmp_path / "executed.ipynb")


# The notebooks of the repository -----------------------------------------------------------------


def notebooks(repository):
    return sorted((repository / "notebooks").glob("*.ipynb"))


def test_committed_notebooks_declare_literals_define_nothing_and_hold_no_outputs(repository):
    assert len(notebooks(repository)) >= 2
    for notebook in notebooks(repository):
        assert declared_parameters(notebook)
        for cell in nbformat.read(notebook, as_version=4).cells:
            assert not cell.get("outputs"), notebook
            assert cell.get("execution_count") is None, notebook
            if cell.cell_type == "code":
                logic = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If)
                nodes = ast.walk(ast.parse(cell.source))
                assert not any(isinstance(node, logic) for node in nodes), notebook


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two runs of two seeds, as the engine and the evaluation leave them."""
    monkeypatch.chdir(tmp_path)
    values = {"run_a": [0.40, 0.44], "run_b": [0.50, 0.51]}
    for run_name, seeds in values.items():
        for seed, value in enumerate(seeds):
            folder = Path("results/shapes/runs") / run_name / f"seed{seed}"
            (folder / "plain").mkdir(parents=True)
            metrics = {"AP": value, "oLRP": 1 - value, "per_class": []}
            (folder / "plain" / "metrics.json").write_text(json.dumps(metrics))
            lines = [f"{i},0.01,{2 / (i + 1)},{1 / (i + 1)},{1 / (i + 1)}" for i in range(30)]
            header = "iteration,lr,loss,class_loss,box_loss"
            (folder / "log.csv").write_text("\n".join([header, *lines]) + "\n")
    return {name: [f"results/shapes/runs/{name}/seed{seed}" for seed in (0, 1)] for name in values}


def table_parameters(results):
    rows = [
        {
            "setting": {"loss": name},
            "run": name,
            "variant": "plain",
            "reported": {"AP": reported, "oLRP": None},
            "missing": None,
        }
        for name, reported in zip(results, (35.9, 37.5), strict=True)
    ]
    rows.append(
        {
            "setting": {"loss": "c"},
            "run": None,
            "variant": "",
            "reported": {"AP": 36.0},
            "missing": "needs masks",
        }
    )
    folders = [*results.values(), []]
    return {
        "title": "Table 2",
        "paper": "A work",
        "scale": "shapes",
        "description": "What it is.",
        "reported_on": "",
        "doubts": ["A doubt."],
        "departures": ["A < B there."],
        "claims": [{"says": "b is better", "gains": [{"rows": [[1, 0]], "metrics": ["AP"]}]}],
        "metrics": [
            {"name": "AP", "percent": True, "better": "higher"},
            {"name": "oLRP", "percent": True, "better": "lower"},
        ],
        "rows": rows,
        "files": [
            {
                "log": [f"{folder}/log.csv" for folder in seeds],
                "metrics": [f"{folder}/plain/metrics.json" for folder in seeds],
            }
            for seeds in folders
        ],
        "baselines": [None, 0, None],
        "seeds": [0, 1],
        "table": "results/shapes/some_work/table_2/table.csv",
        "thumbnail": "results/shapes/some_work/table_2/table.png",
        "checks": "results/shapes/some_work/table_2/checks.json",
    }


def test_table_notebook_from_metrics_to_page(repository, results, tmp_path):
    given = table_parameters(results)
    html = Path("results/shapes/some_work/table_2/notebook.html")
    executed = html.with_suffix(".ipynb")
    run_notebook(repository / "notebooks" / "table.ipynb", given, executed, html)
    tidy = pd.read_csv(given["table"]).set_index(["loss", "metric"])
    assert tidy.loc[("run_a", "AP"), "measured"] == pytest.approx(0.42)
    other = tidy.loc[("run_b", "AP")]
    assert other["gain"] == pytest.approx(other["measured"] - 0.42)
    assert other["reported_gain"] == pytest.approx(0.375 - 0.359)
    assert Path(given["thumbnail"]).read_bytes().startswith(b"\x89PNG")
    page = html.read_text()
    for expected in (
        "<title>Table 2 · shapes scale</title>",
        "Table 2 · shapes scale</h1>",
        "Not comparable with printed numbers",
        "42.0",
        "± 2.8",  # seeds 40 and 44
        "+1.6",  # 37.5 - 35.9
        "needs masks",
        "A doubt.",
        "Where this differs from what is printed",
        "A &lt; B there.",
        "b is better",
        "claims hold 1 of 1, 1 not measured",
    ):
        assert expected in page
    found, checks, _ = read_checks(Path(given["checks"]))
    assert found == "claims"
    assert [check.holds for check in checks] == [None, None, None, True]
    assert checks[0].measured == pytest.approx(42)
    links = [link for link in re.findall(r'href="([^"#]*)"', page)]
    assert len([link for link in links if link.endswith("log.csv")]) == 4
    assert all((html.parent / link).is_file() for link in links)


def test_training_curves_notebook_from_logs_to_figure(repository, results):
    given = {
        "title": "Curves",
        "paper": "A work",
        "scale": "shapes",
        "description": "",
        "departures": [],
        "runs": {
            name: [f"{folder}/log.csv" for folder in seeds] for name, seeds in results.items()
        },
        "figure": "results/shapes/some_work/curves/figure.svg",
        "bitmap": "results/shapes/some_work/curves/figure.png",
        "checks": "results/shapes/some_work/curves/checks.json",
    }
    html = Path("results/shapes/some_work/curves/notebook.html")
    notebook = repository / "notebooks" / "training_curves.ipynb"
    run_notebook(notebook, given, html.with_suffix(".ipynb"), html)
    assert Path(given["figure"]).read_text().startswith("<?xml")
    assert Path(given["bitmap"]).read_bytes().startswith(b"\x89PNG")
    assert "data:image/svg+xml;base64," in html.read_text()
    assert read_checks(Path(given["checks"])) == ("added", [], [])


def test_a_user_mistake_in_the_results_reaches_the_message(repository, results, tmp_path, capsys):
    given = table_parameters(results)
    Path(given["files"][0]["metrics"][0]).write_text('{"AP": 0.1}')
    code, _, _ = run(repository / "notebooks" / "table.ipynb", given, tmp_path)
    assert code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"{given['files'][0]['metrics'][0]}: no metric 'oLRP'" in message


@pytest.mark.parametrize("scale", ["shapes", "paper"])
def test_every_notebook_takes_what_its_targets_pass(repository, scale):
    experiments = load_experiments(repository, check_runs=False)
    results = experiments.results(scale)
    made = [target for target in experiments.targets.values() if target.made]
    declared = {}
    for target in made:
        notebook = repository / "notebooks" / f"{target.notebook}.ipynb"
        if notebook not in declared:
            declared[notebook] = declared_parameters(notebook)
        check_parameters(notebook, declared[notebook], target.parameters(results))
    of_own_files = {repository / "notebooks" / "detections_report.ipynb"}
    assert set(declared) | of_own_files == set((repository / "notebooks").glob("*.ipynb"))
