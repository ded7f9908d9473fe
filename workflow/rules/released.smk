# Detections of models that others released, or of what stands in for them: config/released.yaml says which.
# results file | published weights | placed file | ground truth -> detections -> metrics.json, matches.npz
# What is downloaded is kept in .finished and linked to, as in data.smk.


rule released_download:
    output:
        f"{DATA}/released/{{model}}/results.json",
    log:
        "logs/data/released_{model}.log",
    wildcard_constraints:
        model=models_of("results_file"),
    retries: 2
    localrule: True
    params:
        url=lambda w: origin_of(w).url,
        checksum=checksum_options,
        finished=f"{DATA}/released/{{model}}/.finished/results.json",
    shell:
        "rebalance data download --url {params.url:q} {params.checksum} --out {params.finished:q} 2>&1"
        " | tee {log:q} && ln -sfnr {params.finished:q} {output:q}"


rule released_placed:
    input:
        lambda w: if_there(f"{DATA}/released/{w.model}.json"),
    output:
        f"{DATA}/released/{{model}}/results.json",
    log:
        "logs/data/released_{model}.log",
    wildcard_constraints:
        model=models_of("own_file"),
    localrule: True
    params:
        placed=f"{DATA}/released/{{model}}.json",
        panoptic=lambda w: (
            "--panoptic" if EXPERIMENTS.released[w.model].task == "panoptic" else ""
        ),
    shell:
        "rebalance data results --placed {params.placed:q} {params.panoptic} --out {output:q} 2>&1 | tee {log:q}"


rule released_weights:
    output:
        f"{DATA}/released/{{model}}/weights.pth",
    log:
        "logs/data/released_{model}.log",
    wildcard_constraints:
        model=models_of("checkpoint"),
    retries: 2
    localrule: True
    params:
        url=lambda w: origin_of(w).url,
        checksum=checksum_options,
        finished=f"{DATA}/released/{{model}}/.finished/weights.pth",
    shell:
        "rebalance data download --url {params.url:q} {params.checksum} --out {params.finished:q} 2>&1"
        " | tee {log:q} && ln -sfnr {params.finished:q} {output:q}"


rule released_import:
    input:
        weights=f"{DATA}/released/{{model}}/weights.pth",
        annotations=lambda w: settings_of(
            origin_of(w).run, SCALE, 0
        ).dataset.train.annotations,
    output:
        model=f"{RESULTS}/released/{{model}}/model.safetensors",
        settings=f"{RESULTS}/released/{{model}}/run.yaml",
    log:
        f"logs/{SCALE}/released/{{model}}.import.log",
    wildcard_constraints:
        model=models_of("checkpoint"),
    resources:
        mem_mb=8000,
        runtime=20,
    params:
        code=code_of("rebalance.weights.convert"),
        project=lambda w: origin_of(w).project,
        run=lambda w: origin_of(w).run,
        scale=SCALE,
        data=lambda w: DATA,
    shell:
        "rebalance weights import --from {params.project} --run {params.run} --scale {params.scale}"
        " --data {params.data:q} --weights {input.weights:q} --settings {output.settings:q}"
        " --out {output.model:q} > {log:q} 2>&1"


rule released_predict:
    input:
        model=f"{RESULTS}/released/{{model}}/model.safetensors",
        settings=f"{RESULTS}/released/{{model}}/run.yaml",
        annotations=lambda w: released_of(w).truth,
    output:
        f"{RESULTS}/released/{{model}}/detections.json",
    log:
        f"logs/{SCALE}/released/{{model}}.predict.log",
    wildcard_constraints:
        model=models_of("checkpoint"),
    threads: resources_of(SCALE, "predict").threads
    resources:
        mem_mb=lambda w, attempt: resources_of(SCALE, "predict").mem_mb * attempt,
        runtime=lambda w, attempt: resources_of(SCALE, "predict").runtime * attempt,
        gres=predict_gpus(SCALE),
    params:
        code=released_code_of("rebalance.engine.predict"),
        run_dir=lambda w, input: os.path.dirname(input.model),
    shell:
        "rebalance predict --run-dir {params.run_dir:q} --threads {threads} --out {output:q} > {log:q} 2>&1"


# Video, thesis H.1: every frame on its own (B), and frames linked (G, S), with the thresholds of B's evaluation or one.
rule video_frames:
    input:
        model=lambda w: f"{video_run(w)}/model.safetensors",
        settings=lambda w: f"{video_run(w)}/run.yaml",
        annotations=lambda w: released_of(w).truth,
    output:
        f"{RESULTS}/released/{{model}}/detections.json",
    log:
        f"logs/{SCALE}/released/{{model}}.predict.log",
    wildcard_constraints:
        model="|".join(video_models("none")) or "(?!)",
    threads: resources_of(SCALE, "predict").threads
    resources:
        mem_mb=lambda w, attempt: resources_of(SCALE, "predict").mem_mb * attempt,
        runtime=lambda w, attempt: 4 * resources_of(SCALE, "predict").runtime * attempt,
        gres=predict_gpus(SCALE),
    params:
        code=released_code_of("rebalance.engine.predict"),
        run_dir=lambda w, input: os.path.dirname(input.model),
        images=lambda w: f"{os.path.dirname(os.path.dirname(released_of(w).truth))}/images",
    shell:
        "rebalance predict --run-dir {params.run_dir:q} --annotations {input.annotations:q}"
        " --images {params.images:q} --threads {threads} --out {output:q} > {log:q} 2>&1"


rule video_linked:
    input:
        detections=lambda w: f"{RESULTS}/released/{still_images(w)}/detections.json",
        metrics=lambda w: f"{RESULTS}/released/{still_images(w)}/metrics.json",
        annotations=lambda w: released_of(w).truth,
    output:
        f"{RESULTS}/released/{{model}}/detections.json",
    log:
        f"logs/{SCALE}/released/{{model}}.link.log",
    wildcard_constraints:
        model="|".join(video_models("general", "optimal")) or "(?!)",
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_of("rebalance.video"),
        thresholds=lambda w, input: (
            f"--metrics {shlex.quote(input.metrics)}"
            if origin_of(w).thresholds == "optimal"
            else "--threshold 0.5"
        ),
    shell:
        "rebalance link --gt {input.annotations:q} --dt {input.detections:q} {params.thresholds}"
        " --out {output:q} > {log:q} 2>&1"


# Of tasks that no detector of the suite does: the ground truth of drawn objects, and that with known errors.
rule drawn_truth:
    input:
        f"{DATA}/{{dataset}}/annotations/val.json",
    output:
        f"{DATA}/{{dataset}}/drawn/{{task}}.json",
    log:
        "logs/data/{dataset}_drawn_{task}.log",
    wildcard_constraints:
        task="keypoints|panoptic",
        dataset="|".join(EXPERIMENTS.datasets),
    params:
        code=code_of("rebalance.data.drawn"),
    shell:
        "rebalance data drawn-truth --task {wildcards.task} --annotations {input:q} --out {output:q} > {log:q} 2>&1"


rule drawn_results:
    input:
        lambda w: released_of(w).truth,
    output:
        f"{RESULTS}/released/{{model}}/detections.json",
    log:
        f"logs/{SCALE}/released/{{model}}.drawn.log",
    wildcard_constraints:
        model=models_of("drawn"),
    params:
        code=code_of("rebalance.data.drawn"),
        task=lambda w: EXPERIMENTS.released[w.model].task,
        errors=lambda w: " ".join(
            f"--{key} {getattr(origin_of(w), key)}"
            for key in ("seed", "shift", "missed", "invented")
        ),
    shell:
        "rebalance data drawn-results --task {params.task} --truth {input:q} {params.errors}"
        " --out {output:q} > {log:q} 2>&1"


rule released_evaluate:
    input:
        detections=lambda w: released_of(w).detections,
        annotations=lambda w: released_of(w).truth,
    output:
        metrics=f"{RESULTS}/released/{{model}}/metrics.json",
        matches=f"{RESULTS}/released/{{model}}/matches.npz",
    log:
        f"logs/{SCALE}/released/{{model}}.evaluate.log",
    wildcard_constraints:
        model="|".join(
            name
            for name, model in EXPERIMENTS.released.items()
            if model.task in IOU_TYPES
        )
        or "(?!)",
    resources:
        mem_mb=lambda w, attempt: 2000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        code=code_of("rebalance.metrics.evaluate"),
        iou_type=lambda w: IOU_TYPES[EXPERIMENTS.released[w.model].task],
    shell:
        "rebalance evaluate --gt {input.annotations:q} --dt {input.detections:q}"
        " --iou-type {params.iou_type} --out {output.metrics:q} --matches {output.matches:q} > {log:q} 2>&1"


rule released_evaluate_panoptic:
    input:
        detections=lambda w: released_of(w).detections,
        annotations=lambda w: released_of(w).truth,
    output:
        f"{RESULTS}/released/{{model}}/metrics.json",
    log:
        f"logs/{SCALE}/released/{{model}}.evaluate.log",
    wildcard_constraints:
        model="|".join(
            name
            for name, model in EXPERIMENTS.released.items()
            if model.task == "panoptic"
        )
        or "(?!)",
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        code=code_of("rebalance.metrics.panoptic"),
    shell:
        "rebalance evaluate-panoptic --gt {input.annotations:q} --dt {input.detections:q}"
        " --out {output:q} > {log:q} 2>&1"
