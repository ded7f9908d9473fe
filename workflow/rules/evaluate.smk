# Prediction and evaluation are files of their own: a new metric never predicts again.
# model.safetensors -> <variant>/detections.json -> <variant>/{metrics.json, matches.npz}
rule predict:
    input:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
        annotations=lambda w: resolved(w)["dataset"]["val"]["annotations"],
        lib=lib_sources("rebalance.engine.predict"),
    output:
        "results/{scale}/runs/{run}/seed{seed}/{variant}/detections.json",
    log:
        "logs/{scale}/predict/{run}/seed{seed}.{variant}.log",
    threads: lambda w: EXPERIMENTS.scales[w.scale]["resources"]["predict"]["threads"]
    resources:
        mem_mb=scale_resources("predict", "mem_mb"),
        runtime=scale_resources("predict", "runtime"),
        gres=gpus_of("predict"),
    params:
        variant=variant_settings,
        run_dir=lambda w, input: os.path.dirname(input.model),
    shell:
        "rebalance predict --run-dir {params.run_dir} --variant {wildcards.variant}"
        " --threads {threads} --out {output} > {log} 2>&1"


rule evaluate:
    input:
        detections="results/{scale}/runs/{run}/seed{seed}/{variant}/detections.json",
        annotations=lambda w: resolved(w)["dataset"]["val"]["annotations"],
        lib=lib_sources("rebalance.metrics.evaluate"),
    output:
        metrics="results/{scale}/runs/{run}/seed{seed}/{variant}/metrics.json",
        matches="results/{scale}/runs/{run}/seed{seed}/{variant}/matches.npz",
    log:
        "logs/{scale}/evaluate/{run}/seed{seed}.{variant}.log",
    resources:
        mem_mb=lambda w, attempt: 2000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        tau=lambda w: variant_settings(w).get("tau", 0.5),
        ious=[0.55, 0.6, 0.65, 0.7, 0.8, 0.85, 0.9, 0.95],  # AP<t> that some table asks for
        masks=lambda w: "--with-masks" if needs_masks(resolved(w)["detector"]) else "",
    shell:
        "rebalance evaluate --gt {input.annotations} --dt {input.detections} {params.masks}"
        " --tau {params.tau} --ious {params.ious} --out {output.metrics} --matches {output.matches}"
        " > {log} 2>&1"


# What the positives look like that a trained detector would be trained on next; some figures show them.
# model.safetensors + training images -> positives.json
rule positives:
    input:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
        annotations=lambda w: resolved(w)["dataset"]["train"]["annotations"],
        lib=lib_sources("rebalance.engine.positives"),
    output:
        "results/{scale}/runs/{run}/seed{seed}/positives.json",
    log:
        "logs/{scale}/positives/{run}/seed{seed}.log",
    threads: lambda w: EXPERIMENTS.scales[w.scale]["resources"]["predict"]["threads"]
    resources:
        mem_mb=scale_resources("predict", "mem_mb"),
        runtime=scale_resources("train", "runtime"),  # an epoch without updates
        gres=gpus_of("predict"),
    params:
        run_dir=lambda w, input: os.path.dirname(input.model),
    shell:
        "rebalance positives --run-dir {params.run_dir} --threads {threads} --out {output} > {log} 2>&1"


# What a detections file gets right and where it fails: `snakemake report_<run>` for a trained run,
# `snakemake own_detections` for files of one's own.
rule detections_report:
    input:
        detections="results/{scale}/runs/{run}/seed{seed}/{variant}/detections.json",
        annotations=lambda w: resolved(w)["dataset"]["val"]["annotations"],
        notebook="notebooks/detections_report.ipynb",
        lib=lib_sources(*notebook_imports("notebooks/detections_report.ipynb")),
    output:
        "results/{scale}/runs/{run}/seed{seed}/{variant}/report.html",
    log:
        "logs/{scale}/report/{run}/seed{seed}.{variant}.log",
    resources:
        mem_mb=lambda w, attempt: 3000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        tau=lambda w: variant_settings(w).get("tau", 0.5),
    shell:
        "rebalance evaluate --gt {input.annotations} --dt {input.detections}"
        " --tau {params.tau} --html {output} > {log} 2>&1"


if config["detections"]:

    rule own_detections:
        input:
            gt=config["detections"]["gt"],
            dt=config["detections"]["dt"],
            notebook="notebooks/detections_report.ipynb",
            lib=lib_sources(*notebook_imports("notebooks/detections_report.ipynb")),
        output:
            html="results/own_detections/report.html",
            metrics="results/own_detections/metrics.json",
            per_class="results/own_detections/per_class.csv",
        log:
            "logs/own_detections.log",
        resources:
            mem_mb=lambda w, attempt: 3000 * attempt,
            runtime=lambda w, attempt: 20 * attempt,
        params:
            iou_type=config["detections"]["iou_type"],
        shell:
            "rebalance evaluate --gt {input.gt} --dt {input.dt}"
            " --iou-type {params.iou_type} --out {output.metrics}"
            " --per-class {output.per_class} --html {output.html} > {log} 2>&1"
