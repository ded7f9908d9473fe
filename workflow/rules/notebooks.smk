# Every table and figure is one executed notebook. The notebook is the log of its rule: after a failed
# cell it stays under logs/, traceback included.
# metrics.json or log.csv of the runs -> notebook.ipynb, notebook.html, table.csv | figure.svg, bitmap
def target_of(wildcards):
    """The target that the wildcards name."""
    return TARGETS[f"{wildcards.work}_{wildcards.target}"]


def target_inputs(wildcards):
    """Files that a target's notebook reads: of trainings, or annotations of a data set."""
    target = target_of(wildcards)
    return result_files(EXPERIMENTS, target, wildcards.scale) + annotation_files(
        EXPERIMENTS, target, wildcards.scale, DATA
    )


def target_sources(wildcards):
    """The notebook, and the library files that it imports."""
    notebook = notebook_file(EXPERIMENTS, target_of(wildcards))
    return [notebook, *lib_sources(*notebook_imports(notebook))]


def target_parameters(wildcards):
    """Parameters of the target's notebook; a change of them runs it again."""
    return notebook_parameters(
        EXPERIMENTS, target_of(wildcards), wildcards.scale, DATA
    )


RENDER = (
    "rebalance render {wildcards.work}_{wildcards.target} --scale {wildcards.scale}"
    " --data {DATA} --executed {log.notebook} --html {output.html}"
    " && cp {log.notebook} {output.notebook}"
)


rule table:
    input:
        results=target_inputs,
        sources=target_sources,
    output:
        html="results/{scale}/{work}/{target}/notebook.html",
        notebook="results/{scale}/{work}/{target}/notebook.ipynb",
        table="results/{scale}/{work}/{target}/table.csv",
        thumbnail="results/{scale}/{work}/{target}/table.png",
    wildcard_constraints:
        target=r"table_\w+(?<!_curves)",
    log:
        notebook="logs/{scale}/{work}/{target}.ipynb",
    params:
        notebook=target_parameters,
    resources:
        mem_mb=lambda w, attempt: 1500 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    shell:
        RENDER


rule figure:
    input:
        results=target_inputs,
        sources=target_sources,
    output:
        html="results/{scale}/{work}/{target}/notebook.html",
        notebook="results/{scale}/{work}/{target}/notebook.ipynb",
        figure="results/{scale}/{work}/{target}/figure.svg",
        thumbnail="results/{scale}/{work}/{target}/figure.png",
    wildcard_constraints:
        target=r"figure_\w+|table_\w+_curves",
    log:
        notebook="logs/{scale}/{work}/{target}.ipynb",
    params:
        notebook=target_parameters,
    resources:
        mem_mb=lambda w, attempt: 1500 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    shell:
        RENDER
