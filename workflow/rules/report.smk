# Names to type, and the page that shows everything.
for target in TARGETS.values():
    if target.made:

        rule:
            name:
                target.name
            input:
                target.outputs(results_of(SCALE)).values(),
            localrule: True


for run in asked_for("report_", EXPERIMENTS.runs):

    rule:
        name:
            f"report_{run}"
        input:
            [
                folder / DEFAULT_VARIANT / "report.html"
                for folder in results_of(SCALE).seed_folders(run)
            ],
        localrule: True


for run, variants in asked_for("testdev_", EXPERIMENTS.reported_on("test-dev").items()):

    rule:
        name:
            f"testdev_{run}"
        input:
            [
                f"{RESULTS}/testdev/{folder.name}/{variant}/detections_test-dev2017_{run}_results.zip"
                for folder in results_of(SCALE).seed_folders(run)
                for variant in variants
            ],
        localrule: True


for work in EXPERIMENTS.works:

    rule:
        name:
            work
        input:
            outputs_of(
                target for target in TARGETS.values() if target.label.work == work
            ),
        localrule: True


rule analytic:
    input:
        outputs_of(target for target in TARGETS.values() if not target.shows_results),
    localrule: True


# Tables of dense detectors, and of staged ones with masks and a ranking loss, with training curves; figures of a trained
# detector; what stands in for released models; a detector on video; and all that needs no training: seven trainings.
rule demo:
    input:
        rules.analytic.input,
        outputs_of(
            TARGETS[name]
            for name in (
                "focal_eiou_table_1",
                "focal_eiou_table_1_curves",
                "thesis_table_8_6",
                "bbgen_figure_5_trained",
                "bbgen_figure_6",
                "thesis_figure_3_12",
                "thesis_figure_3_17",
                "thesis_table_5_6",
                "thesis_table_h_1",
                "thesis_figure_h_1",
            )
        ),
    localrule: True


rule index:
    log:
        f"logs/{SCALE}/index.log",
    localrule: True
    shell:
        f"{WRITE_INDEX} > {{log}} 2>&1"


# A part of the targets, or a failure, leaves an index that shows what is there and what is not.
onsuccess:
    shell(WRITE_INDEX)


onerror:
    shell(WRITE_INDEX)


# A name that no other rule has is taken for a file to be made; no file of ours is named like that.
rule unknown_target:
    input:
        unknown_target,
    output:
        "{name}",
    wildcard_constraints:
        name=r"[A-Za-z0-9_]+",
    localrule: True
