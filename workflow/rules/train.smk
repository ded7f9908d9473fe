# One training per run and seed, however many tables show it.
# annotations + images -> model.safetensors, log.csv, run.yaml
#
# checkpoint.pt lies beside the outputs and is not one of them: Snakemake deletes the outputs of a
# job that failed, and a killed training goes on from its checkpoint. `exec` makes the training the
# process that SLURM's SIGTERM reaches, and the log is appended to, so that it holds every attempt.
rule train:
    input:
        annotations=annotations_trained_on,
        weights=lambda w: getattr(resolved(w).backbone, "weights", None) or [],
    output:
        model="results/{scale}/runs/{run}/seed{seed}/model.safetensors",
        history="results/{scale}/runs/{run}/seed{seed}/log.csv",
        settings="results/{scale}/runs/{run}/seed{seed}/run.yaml",
    log:
        "logs/{scale}/train/{run}/seed{seed}.log",
    benchmark:
        "logs/{scale}/train/{run}/seed{seed}.tsv"
    threads: threads_of("train")
    resources:
        mem_mb=scale_resources("train", "mem_mb"),
        runtime=scale_resources("train", "runtime"),
        gres=training_gpus,
        nodes=training_nodes if ON_SEVERAL_NODES else 1,
        # One task for each device, which `rebalance train` starts by srun; see engine/slurm.py.
        mpi=over_nodes(lambda nodes, each, cpus: "srun"),
        tasks_per_node=over_nodes(lambda nodes, each, cpus: each if each > 1 else None),
        tasks=over_nodes(lambda nodes, each, cpus: nodes if each == 1 else None),
        tasks_per_gpu=over_nodes(lambda nodes, each, cpus: 0),
        cpus_per_task=over_nodes(lambda nodes, each, cpus: max(1, cpus // each)),
        watch=watching_option(),  # a parameter would train everything again
    params:
        code=training_code_of,
        run=training_settings,
        data=DATA,
        out=lambda w, output: os.path.dirname(output.model),
    shell:
        "exec rebalance train {wildcards.run} --scale {wildcards.scale} --seed {wildcards.seed}"
        " --data {params.data:q} --threads {threads} --out {params.out:q} {resources.watch} >> {log:q} 2>&1"
