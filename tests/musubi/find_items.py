"""Runs in musubi-tuner's environment: what its own dataset code makes of a dataset TOML.

Usage: find_items.py train|latents|texts TOML. Prints a JSON list: the number of items that are
trained, or the cache files that caching would write.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

# There is no musubi-tuner, and so no type of it, in the environment that checks this file.
config_utils: Any = importlib.import_module("musubi_tuner.dataset.config_utils")


def group(path: str, *, training: bool) -> Any:
    """Return musubi's dataset group, made as its scripts make it."""
    config = config_utils.load_user_config(path)
    arguments = argparse.Namespace(debug_dataset=False)
    blueprint = config_utils.BlueprintGenerator(config_utils.ConfigSanitizer()).generate(
        config, arguments, architecture="wan"
    )
    return config_utils.generate_dataset_group_by_blueprint(
        blueprint.dataset_group, training=training
    )


def found(kind: str, path: str) -> list[Any]:
    """Return what is asked for."""
    if kind == "train":
        return [group(path, training=True).num_train_items]
    paths: list[str] = []
    for dataset in group(path, training=False).datasets:
        if kind == "latents":
            batches = (batch for _, batch in dataset.retrieve_latent_cache_batches(1))
            paths += [item.latent_cache_path for batch in batches for item in batch]
        else:
            batches = dataset.retrieve_text_encoder_output_cache_batches(1)
            paths += [item.text_encoder_output_cache_path for batch in batches for item in batch]
    return sorted("/".join(Path(path).parts[-2:]) for path in paths)


print(json.dumps(found(sys.argv[1], sys.argv[2])))  # noqa: T201  # its output
