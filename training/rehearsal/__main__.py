"""Runs one of musubi-tuner's three Wan scripts as a rehearsal: `python -m training.rehearsal`."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.musubi.progress import ProgressWriter
from training.rehearsal import console, options
from training.rehearsal.hold import CACHING, Hold
from training.rehearsal.musubi_error import MusubiError

logger = logging.getLogger(__name__)

_USAGE = 2


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one script; return the exit code that musubi-tuner would return."""
    script = Path(arguments[0]).name if arguments else ""
    if script not in (options.CACHE_LATENTS, options.CACHE_TEXT, options.TRAIN):
        sys.stderr.write(
            f"usage: python -m training.rehearsal {{{options.CACHE_LATENTS},"
            f"{options.CACHE_TEXT},{options.TRAIN}}} ...\n"
        )
        return _USAGE
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s")
    try:
        return _run(script, arguments[1:], environment)
    except MusubiError as error:
        # Print the cause last, because a traceback of musubi-tuner ends with the exception.
        sys.stderr.write(f"\n{error.fix}\n{error.cause}\n")
    except OSError as error:
        sys.stderr.write(f"\n{type(error).__name__}: {error}\n")
    return 1


def _run(script: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    args = options.build_parser(script).parse_args(arguments)
    options.check_supported(script, args)
    console.say(console.BANNER)
    logger.info("%s", console.BANNER)
    progress = ProgressWriter.from_environment(environment)
    # Import only what the script needs: training does not need the media decoders.
    if script == options.TRAIN:
        from training.rehearsal.loop.train import train  # noqa: PLC0415

        return train(args, progress, environment)
    from training.rehearsal.data import cache  # noqa: PLC0415

    run = cache.cache_latents if script == options.CACHE_LATENTS else cache.cache_text
    run(args, progress, Hold(environment, CACHING))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
