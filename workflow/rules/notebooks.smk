# Every table and figure is one executed notebook. It is the log of its rule: after a failed cell it
# stays under logs/, traceback included.
# metrics.json or log.csv of the runs -> notebook.ipynb, notebook.html, table.csv | figure.svg + png
def target_of(wildcards):
    """The target that the wildcards name."""
    return TARGETS[f"{wildcards.work}_{wildcards.target}"]


def target_inputs(wildcards):
    """Files of the runs that a target shows; targets without runs need none."""
    target = target_of(wildcards)
    return result_files(EXPERIMENTS, target, wildcards.scale)


def target_outputs(target):
    """Files that a target's rule makes."""
    return target_files(target, SCALE)


rule table:
    input:
        results=target_inputs,
        notebook=lambda w: EXPERIMENTS.notebook(target_of(w)),
        lib=lib_sources("rebalance.report.tables"),
    output:
        html="results/{scale}/{work}/{target}/notebook.html",
        table="results/{scale}/{work}/{target}/table.csv",
        thumbnail="results/{scale}/{work}/{target}/table.png",
        notebook="results/{scale}/{work}/{target}/notebook.ipynb",
    log:
        notebook="logs/{scale}/{work}/{target}.ipynb",
    params:
        settings=lambda w: EXPERIMENTS.notebook_parameters(target_of(w), w.scale),
    resources:
        mem_mb=1500,
        runtime=20,
    shell:
        "rebalance render {wildcards.work}_{wildcards.target} --scale {wildcards.scale}"
        " --executed {log.notebook} --html {output.html} && cp {log.notebook} {output.notebook}"
