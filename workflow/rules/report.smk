# Names to type, and the page that shows everything.
def outputs_of(targets):
    """Files of those targets that the suite can make."""
    return [
        file
        for target in targets
        if target.is_made
        for file in target_files(target, SCALE).values()
    ]


def index_command(scale):
    """Shell command that writes the index of what is there."""
    return f"rebalance index --scale {scale} --out results/{scale}/index.html"


for target in TARGETS.values():
    if target.is_made:

        rule:
            name:
                target.name
            localrule: True
            input:
                target_files(target, SCALE).values(),


for work in EXPERIMENTS.works:

    rule:
        name:
            work
        localrule: True
        input:
            outputs_of(target for target in TARGETS.values() if target.work == work),


rule demo:
    localrule: True
    input:
        outputs_of(
            TARGETS[name]
            for name in (
                "focal_eiou_table_2",
                "focal_eiou_table_2_curves",
                "bbgen_table_3",
            )
        ),


rule index:
    localrule: True
    input:
        outputs_of(TARGETS.values()),
    output:
        "results/{scale}/index.html",
    params:
        command=lambda w: index_command(w.scale),
    shell:
        "{params.command}"


# A part of the targets, or a failure, leaves an index that shows what is there and what is not.
onsuccess:
    shell(index_command(SCALE))


onerror:
    shell(index_command(SCALE))
