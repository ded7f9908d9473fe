# Every table and figure is one executed notebook. It is executed under logs/, where it stays after a failed
# cell, traceback included; the log beside it says which cell failed, and why.
# metrics.json or log.csv of the runs -> notebook.ipynb, notebook.html, table.{csv,tex} | figure.{svg,pdf,csv}, bitmap
rule table:
    input:
        results=target_inputs,
        notebook=target_notebook,
    output:
        html="results/{scale}/{work}/{target}/notebook.html",
        notebook="results/{scale}/{work}/{target}/notebook.ipynb",
        checks="results/{scale}/{work}/{target}/checks.json",
        table="results/{scale}/{work}/{target}/table.csv",
        latex="results/{scale}/{work}/{target}/table.tex",
        thumbnail=report(
            "results/{scale}/{work}/{target}/table.png",
            category="{work}",
            labels={"target": "{target}"},
        ),
    log:
        "logs/{scale}/{work}/{target}.log",
    wildcard_constraints:
        target=ids_of(shows_table=True),
    group:
        page_group
    resources:
        mem_mb=lambda w, attempt: 1500 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
        pages=1,  # how many of a group at once: workflow/profiles/slurm
    params:
        code=target_code,
        notebook=target_parameters,
        data=DATA,
        seeds=seeds_option,
        executed=executed_notebook,
    shell:
        "rebalance render {wildcards.work}_{wildcards.target} --scale {wildcards.scale}"
        " --data {params.data:q} {params.seeds} --executed {params.executed:q} --html {output.html:q}"
        " > {log:q} 2>&1 && cp {params.executed:q} {output.notebook:q}"


rule figure:
    input:
        results=target_inputs,
        notebook=target_notebook,
    output:
        html="results/{scale}/{work}/{target}/notebook.html",
        notebook="results/{scale}/{work}/{target}/notebook.ipynb",
        checks="results/{scale}/{work}/{target}/checks.json",
        figure="results/{scale}/{work}/{target}/figure.svg",
        pdf="results/{scale}/{work}/{target}/figure.pdf",
        data="results/{scale}/{work}/{target}/figure.csv",
        thumbnail=report(
            "results/{scale}/{work}/{target}/figure.png",
            category="{work}",
            labels={"target": "{target}"},
        ),
    log:
        "logs/{scale}/{work}/{target}.log",
    wildcard_constraints:
        target=ids_of(shows_table=False),
    group:
        page_group
    resources:
        mem_mb=notebook_memory,
        runtime=notebook_minutes,
        pages=1,
    params:
        code=target_code,
        notebook=target_parameters,
        data=DATA,
        seeds=seeds_option,
        executed=executed_notebook,
    shell:
        "rebalance render {wildcards.work}_{wildcards.target} --scale {wildcards.scale}"
        " --data {params.data:q} {params.seeds} --executed {params.executed:q} --html {output.html:q}"
        " > {log:q} 2>&1 && cp {params.executed:q} {output.notebook:q}"
