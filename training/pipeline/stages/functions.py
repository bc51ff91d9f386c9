"""Finds the function that runs a stage."""

from training.pipeline.stage_runner import StageFunction
from training.vocabulary import StageName


def stage_function(name: StageName) -> StageFunction:
    # Import only the stage that runs, because some import torch, which takes two seconds.
    match name:
        case "prepare":
            from training.pipeline.stages.prepare import run  # noqa: PLC0415
        case "fetch":
            from training.pipeline.stages.fetch import run  # noqa: PLC0415
        case "cache":
            from training.pipeline.stages.cache import run  # noqa: PLC0415
        case "merge":
            from training.pipeline.stages.merge import run  # noqa: PLC0415
        case "train":
            from training.pipeline.stages.train import run  # noqa: PLC0415
        case "publish":
            from training.pipeline.stages.publish import run  # noqa: PLC0415
    return run
