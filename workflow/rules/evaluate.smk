# Prediction and evaluation are files of their own: a new metric never predicts again.
# model.safetensors -> <variant>/detections.json -> <variant>/{metrics.json, matches.npz}; variants of the
# same test settings share the detections of the first of them. The default one writes the run's card, README.md, too.
rule predict:
    input:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
        annotations=dataset_files("val"),
    output:
        "results/{scale}/runs/{run}/seed{seed}/{variant}/detections.json",
    log:
        "logs/{scale}/predict/{run}/seed{seed}.{variant}.log",
    threads: threads_of("predict")
    resources:
        mem_mb=scale_resources("predict", "mem_mb"),
        runtime=scale_resources("predict", "runtime"),
        gres=gpus_of("predict"),
    params:
        code=variant_code_of("rebalance.engine.predict"),
        test=test_settings,
        run_dir=lambda w, input: os.path.dirname(input.model),
    shell:
        "rebalance predict --run-dir {params.run_dir:q} --settings {params.test:q}"
        " --threads {threads} --out {output:q} > {log:q} 2>&1"


rule evaluate:
    input:
        detections=detections_of,
        annotations=dataset_files("val"),
    output:
        metrics="results/{scale}/runs/{run}/seed{seed}/{variant}/metrics.json",
        matches="results/{scale}/runs/{run}/seed{seed}/{variant}/matches.npz",
    log:
        "logs/{scale}/evaluate/{run}/seed{seed}.{variant}.log",
    resources:
        mem_mb=lambda w, attempt: 2000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        code=code_of("rebalance.metrics.evaluate"),
        evaluate=evaluation_options,
        card=card_option,
    shell:
        "rebalance evaluate --gt {input.annotations:q} --dt {input.detections:q} {params.evaluate}"
        " --out {output.metrics:q} --matches {output.matches:q} {params.card}"
        " > {log:q} 2>&1"


# Some works report the best epoch: schedules with `epochs` keep the weights of each, and their tables
# show the best beside the last.
# epochs/*.safetensors, beside the model -> <variant>/epochs.json
rule evaluate_epochs:
    input:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
        annotations=dataset_files("val"),
    output:
        "results/{scale}/runs/{run}/seed{seed}/{variant}/epochs.json",
    log:
        "logs/{scale}/evaluate/{run}/seed{seed}.{variant}.epochs.log",
    threads: threads_of("predict")
    resources:
        mem_mb=scale_resources("predict", "mem_mb"),
        runtime=scale_resources("train", "runtime"),  # a prediction for each epoch
        gres=gpus_of("predict"),
    params:
        code=variant_code_of("rebalance.engine.epochs"),
        test=test_settings,
        evaluate=evaluation_options,
        run_dir=lambda w, input: os.path.dirname(input.model),
    shell:
        "rebalance evaluate-epochs --run-dir {params.run_dir:q} --settings {params.test:q}"
        " {params.evaluate} --threads {threads} --out {output:q} > {log:q} 2>&1"


# What the positives look like that a trained detector would be trained on next; some figures show them.
# model.safetensors + training images -> positives.json
rule positives:
    input:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
        annotations=dataset_files("train"),
    output:
        "results/{scale}/runs/{run}/seed{seed}/positives.json",
    log:
        "logs/{scale}/positives/{run}/seed{seed}.log",
    threads: threads_of("predict")
    resources:
        mem_mb=scale_resources("predict", "mem_mb"),
        runtime=scale_resources("train", "runtime"),  # an epoch without updates
        gres=gpus_of("predict"),
    params:
        code=run_code_of("rebalance.engine.positives"),
        run_dir=lambda w, input: os.path.dirname(input.model),
    shell:
        "rebalance positives --run-dir {params.run_dir:q} --threads {threads} --out {output:q} > {log:q} 2>&1"


# What COCO's server takes, of the images whose objects it alone knows: `snakemake testdev_<run>` for runs of
# tables whose printed numbers are of test-dev. A scale on other data has no such images, and takes those of val.
rule testdev:
    input:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
        annotations=testdev_annotations,
    output:
        "results/{scale}/testdev/seed{seed}/{variant}/detections_test-dev2017_{run}_results.zip",
    log:
        "logs/{scale}/testdev/{run}/seed{seed}.{variant}.log",
    threads: threads_of("predict")
    resources:
        mem_mb=scale_resources("predict", "mem_mb"),
        runtime=lambda w, attempt: 4
        * resources_of(w.scale, "predict").runtime
        * attempt,
        gres=gpus_of("predict"),
    params:
        code=variant_code_of("rebalance.engine.predict"),
        test=test_settings,
        run_dir=lambda w, input: os.path.dirname(input.model),
        images=lambda w: resolved(w).dataset.val.images,
    shell:
        "rebalance predict --run-dir {params.run_dir:q} --settings {params.test:q}"
        " --annotations {input.annotations:q} --images {params.images:q}"
        " --threads {threads} --out {output:q} > {log:q} 2>&1"


# Seconds, images per second and memory on the machine of the job, which no result depends on: in a file
# of its own, so that all others repeat their bytes.
# model.safetensors + images -> speed.json
rule speed:
    input:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
        annotations=dataset_files("train"),
        test_annotations=dataset_files("val"),
    output:
        "results/{scale}/runs/{run}/seed{seed}/speed.json",
    log:
        "logs/{scale}/speed/{run}/seed{seed}.log",
    threads: threads_of("train")
    resources:
        mem_mb=scale_resources("train", "mem_mb"),
        runtime=scale_resources("predict", "runtime"),
        gres=gpus_of("predict"),
    params:
        code=run_code_of("rebalance.engine.speed"),
        run_dir=lambda w, input: os.path.dirname(input.model),
    shell:
        "rebalance speed --run-dir {params.run_dir:q} --threads {threads} --out {output:q} > {log:q} 2>&1"


# What a detections file gets right and where it fails: `snakemake report_<run>` for a trained run,
# `snakemake own_detections` for files of one's own.
rule detections_report:
    input:
        detections=detections_of,
        annotations=dataset_files("val"),
        notebook="notebooks/detections_report.ipynb",
    output:
        "results/{scale}/runs/{run}/seed{seed}/{variant}/report.html",
    log:
        "logs/{scale}/report/{run}/seed{seed}.{variant}.log",
    resources:
        mem_mb=lambda w, attempt: 3000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        code=lambda w: notebook_code("notebooks/detections_report.ipynb"),
        tau=lambda w: variant_of(w).evaluate.tau,
    shell:
        "rebalance evaluate --gt {input.annotations:q} --dt {input.detections:q}"
        " --tau {params.tau} --html {output:q} > {log:q} 2>&1"


if config["detections"]:

    rule own_detections:
        input:
            gt=config["detections"]["gt"],
            dt=config["detections"]["dt"],
            notebook="notebooks/detections_report.ipynb",
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
            code=lambda w: notebook_code("notebooks/detections_report.ipynb"),
            iou_type=config["detections"]["iou_type"],
        shell:
            "rebalance evaluate --gt {input.gt:q} --dt {input.dt:q}"
            " --iou-type {params.iou_type} --out {output.metrics:q}"
            " --per-class {output.per_class:q} --html {output.html:q} > {log:q} 2>&1"
