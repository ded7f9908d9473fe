# Shared by the rules of released models: their entries, input functions.


def models_of(*kinds, tasks=("boxes", "masks", "keypoints", "panoptic", "video")):
    """Wildcard constraint for the released models whose detections come so at this scale."""
    names = [
        name
        for name, model in EXPERIMENTS.released.items()
        if EXPERIMENTS.origin(name, SCALE).called in kinds and model.task in tasks
    ]
    return "|".join(names) or "(?!)"


def origin_of(wildcards):
    """Where the detections of the model that the wildcards name come from."""
    return EXPERIMENTS.origin(wildcards.model, SCALE)


def released_of(wildcards):
    """Files of the model that the wildcards name."""
    return results_of(SCALE).released[wildcards.model]


def checksum_options(wildcards):
    """What is known of a download, as options of ``rebalance data download``."""
    return " ".join(
        f"--{key} {value}" for key, value in origin_of(wildcards).checksums.items()
    )


def predict_gpus(scale):
    """The generic resource of a prediction; "" asks for none."""
    gpus = resources_of(scale, "predict").gpus
    return f"gpu:{gpus}" if gpus else ""


IOU_TYPES = {
    "boxes": "bbox",
    "video": "bbox",
    "masks": "segm",
    "keypoints": "keypoints",
}


def video_models(*thresholds):
    """Released models on video that are thresholded so."""
    return [
        name
        for name, model in EXPERIMENTS.released.items()
        if getattr(EXPERIMENTS.origin(name, SCALE), "thresholds", None) in thresholds
    ]


def still_images(wildcards):
    """The model that has the same detector, every frame on its own."""
    return next(
        name
        for name in video_models("none")
        if EXPERIMENTS.origin(name, SCALE).run == origin_of(wildcards).run
    )


def video_run(wildcards):
    """Folder of the still-image detector: of the first seed."""
    return results_of(SCALE).seed_folders(origin_of(wildcards).run)[0]
