"""Which function runs which stage."""

from training.events import StageName
from training.stage import StageFunction


def stage_function(name: StageName) -> StageFunction:
    """Return what runs the stage called `name`."""
    # Each stage imports what it needs and no more: torch alone takes two seconds.
    match name:
        case "prepare":
            from training.stages.prepare import run  # noqa: PLC0415
        case "fetch":
            from training.stages.fetch import run  # noqa: PLC0415
        case "cache":
            from training.stages.cache import run  # noqa: PLC0415
        case "merge":
            from training.stages.merge import run  # noqa: PLC0415
        case "train":
            from training.stages.train import run  # noqa: PLC0415
        case "publish":
            from training.stages.publish import run  # noqa: PLC0415
    return run
