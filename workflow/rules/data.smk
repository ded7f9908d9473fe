# Every data set ends in one format: <data>/<dataset>/annotations/{train,val}.json beside images/.
# Archives are fetched to <data>/downloads and unpacked to <data>/raw.
#
# Both have their files in .finished there and a link to it as their output: Snakemake deletes outputs
# before a job, also what a job that outlived a killed snakemake has finished meanwhile. The next one
# finds what is finished, verifies it and makes the link again.
rule shapes:
    output:
        **annotations_of("{dataset}"),
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=datasets_of("shapes"),
    params:
        code=code_of("rebalance.data.shapes"),
        drawing=drawing_options,
        out=f"{DATA}/{{dataset}}",
    shell:
        "rebalance data shapes --out {params.out:q} {params.drawing} > {log:q} 2>&1"


rule shapes_voc_layout:
    output:
        directory(f"{DATA}/raw/{{dataset}}"),
    log:
        "logs/data/{dataset}_layout.log",
    wildcard_constraints:
        dataset=datasets_of("shapes_voc"),
    params:
        code=code_of("rebalance.data.voc"),
        drawing=drawing_options,
    shell:
        "rebalance data shapes-voc --out {output:q} {params.drawing} > {log:q} 2>&1"


rule shapes_voc:
    input:
        raw=f"{DATA}/raw/{{dataset}}",
    output:
        **annotations_of("{dataset}"),
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=datasets_of("shapes_voc"),
    params:
        code=code_of("rebalance.data.voc"),
        out=f"{DATA}/{{dataset}}",
        classes=lambda w: dataset_of(w).classes,
        train=image_sets("train", f"{DATA}/raw/{{dataset}}"),
        val=image_sets("val", f"{DATA}/raw/{{dataset}}"),
    shell:
        "rebalance data voc --out {params.out:q} --classes {params.classes:q}"
        " --train {params.train:q} --val {params.val:q} > {log:q} 2>&1"


# A cut download leaves <file>.part and goes on from there. Its progress bar is
# worth seeing, so it is written to the terminal as well as to the log. It runs where snakemake does:
# compute nodes often have no internet.
rule download:
    output:
        f"{DATA}/downloads/{{archive}}",
    log:
        "logs/data/download_{archive}.log",
    wildcard_constraints:
        archive=r"[a-z0-9_]+",
    retries: 2
    localrule: True
    params:
        finished=f"{DATA}/downloads/.finished/{{archive}}",
    shell:
        "rebalance data download --source {wildcards.archive} --out {params.finished:q} 2>&1"
        " | tee {log:q} && ln -sfnr {params.finished:q} {output:q}"


rule extract:
    input:
        f"{DATA}/downloads/{{archive}}",
    output:
        directory(f"{DATA}/raw/{{archive}}"),
    log:
        "logs/data/extract_{archive}.log",
    wildcard_constraints:
        archive=data_archives(),
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        finished=f"{DATA}/raw/.finished/{{archive}}",
    shell:
        "rebalance data extract --archive {input:q} --out {params.finished:q} > {log:q} 2>&1"
        " && ln -sfnr {params.finished:q} {output:q}"


rule coco_download:
    input:
        archives=lambda w: expand(
            f"{DATA}/raw/{{archive}}", archive=dataset_of(w).archives
        ),
    output:
        **annotations_of("{dataset}"),
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=datasets_of("coco_download"),
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code_of("rebalance.data.folder"),
        raw=f"{DATA}/raw",
        out=f"{DATA}/{{dataset}}",
    shell:
        "rebalance data coco --raw {params.raw:q} --out {params.out:q} > {log:q} 2>&1"


# COCO's panoptic ground truth: an archive in the archive.
rule coco_panoptic:
    input:
        raw=f"{DATA}/raw/coco_panoptic2017",
        annotations=f"{DATA}/coco2017/annotations/val.json",
    output:
        f"{DATA}/coco2017/annotations/panoptic_val.json",
    log:
        "logs/data/coco_panoptic.log",
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=code_of("rebalance.data.folder"),
    shell:
        "rebalance data coco-panoptic --raw {input.raw:q} --out {output:q} > {log:q} 2>&1"


rule coco_person_keypoints:
    input:
        f"{DATA}/raw/coco_annotations_trainval2017",
    output:
        f"{DATA}/coco2017/annotations/person_keypoints_val.json",
    log:
        "logs/data/coco_person_keypoints.log",
    localrule: True
    shell:
        "ln -sfr {input:q}/annotations/person_keypoints_val2017.json {output:q} > {log:q} 2>&1"


rule coco_testdev:
    input:
        images=f"{DATA}/raw/coco_test2017",
        info=f"{DATA}/raw/coco_image_info_test2017",
    output:
        f"{DATA}/coco2017/annotations/testdev.json",
    log:
        "logs/data/coco_testdev.log",
    params:
        code=code_of("rebalance.data.folder"),
        out=lambda w, output: os.path.dirname(os.path.dirname(output[0])),
    shell:
        "rebalance data coco-testdev --images {input.images:q} --info {input.info:q}"
        " --out {params.out:q} > {log:q} 2>&1"


rule shapes_videos:
    output:
        f"{DATA}/{{dataset}}/annotations/val.json",
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=datasets_of("shapes_videos"),
    params:
        code=code_of("rebalance.data.videos"),
        out=f"{DATA}/{{dataset}}",
        drawing=lambda w: " ".join(
            f"--{name.replace('_', '-')} {getattr(dataset_of(w), name)}"
            for name in ("seed", "num_videos", "num_frames", "image_size")
        ),
    shell:
        "rebalance data shapes-videos --out {params.out:q} {params.drawing} > {log:q} 2>&1"


rule imagenet_vid:
    input:
        lambda w: if_there(f"{DATA}/{dataset_of(w).annotations}"),
        categories=lambda w: f"{DATA}/{dataset_of(w).categories}/annotations/val.json",
    output:
        f"{DATA}/{{dataset}}/annotations/val.json",
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=datasets_of("imagenet_vid"),
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_of("rebalance.data.videos"),
        out=f"{DATA}/{{dataset}}",
        annotations=lambda w: f"{DATA}/{dataset_of(w).annotations}",
        images=lambda w: f"{DATA}/{dataset_of(w).images}",
    shell:
        "rebalance data imagenet-vid --annotations {params.annotations:q} --images {params.images:q}"
        " --categories {input.categories:q} --out {params.out:q} > {log:q} 2>&1"


rule voc_download:
    input:
        archives=lambda w: expand(
            f"{DATA}/raw/{{archive}}", archive=dataset_of(w).archives
        ),
    output:
        **annotations_of("{dataset}"),
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=datasets_of("voc_download"),
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_of("rebalance.data.voc"),
        out=f"{DATA}/{{dataset}}",
        train=image_sets("train", f"{DATA}/raw"),
        val=image_sets("val", f"{DATA}/raw"),
    shell:
        "rebalance data voc --out {params.out:q}"
        " --train {params.train:q} --val {params.val:q} > {log:q} 2>&1"


rule coco_folder:
    input:
        lambda w: if_there(*folder_parts(w).values()),
    output:
        **annotations_of("{dataset}"),
    log:
        "logs/data/{dataset}.log",
    wildcard_constraints:
        dataset=datasets_of("coco_folder"),
    params:
        code=code_of("rebalance.data.folder"),
        out=f"{DATA}/{{dataset}}",
        parts=lambda w: " ".join(
            f"--{part} {shlex.quote(path)}" for part, path in folder_parts(w).items()
        ),
        first=lambda w: (
            f"--first {dataset_of(w).first}" if dataset_of(w).first else ""
        ),
    shell:
        "rebalance data coco-folder --out {params.out:q} {params.first}"
        " {params.parts} > {log:q} 2>&1"


rule weights:
    input:
        archive=f"{DATA}/downloads/{{weights}}",
    output:
        f"{DATA}/weights/{{weights}}.safetensors",
    log:
        "logs/data/weights_{weights}.log",
    params:
        code=code_of("rebalance.data.weights"),
    shell:
        "rebalance data weights --weights {input.archive:q} --out {output:q} > {log:q} 2>&1"
