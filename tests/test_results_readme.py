"""results/README.md names what the rules write there."""

import re


def test_every_file_that_a_rule_writes_is_named(repository):
    text = (repository / "results" / "README.md").read_text()
    rules = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    written = set(re.findall(r'"results/[^"]*?([\w.]+\.\w+)"', rules))
    assert {"metrics.json", "notebook.html", "model.safetensors", "per_class.csv"} <= written
    assert {name for name in written if name not in text} == set()


def test_it_is_committed_and_what_is_made_is_not(repository):
    ignored = (repository / ".gitignore").read_text().splitlines()
    assert ignored.index("results/*") < ignored.index("!results/README.md")
