# Every table and figure is one executed notebook. The notebook is the log of its rule: after a failed
# cell it stays under logs/, traceback included.
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
        notebook="logs/{scale}/{work}/{target}.ipynb",
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
    shell:
        "rebalance render {wildcards.work}_{wildcards.target} --scale {wildcards.scale}"
        " --data {params.data:q} {params.seeds} --executed {log.notebook:q} --html {output.html:q}"
        " && cp {log.notebook:q} {output.notebook:q}"


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
        notebook="logs/{scale}/{work}/{target}.ipynb",
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
    shell:
        "rebalance render {wildcards.work}_{wildcards.target} --scale {wildcards.scale}"
        " --data {params.data:q} {params.seeds} --executed {log.notebook:q} --html {output.html:q}"
        " && cp {log.notebook:q} {output.notebook:q}"
