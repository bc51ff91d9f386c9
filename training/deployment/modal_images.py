"""The images of the Functions; layers that seldom change come first, and code comes last."""

import modal

from training.deployment.code_version import BOT_CODE, COMPILED, STAGES_CODE
from training.deployment.image_pins import MUSUBI_COMMANDS, PYTHON, TORCH_CPU_INDEX, UV
from training.deployment.image_recipes import RECIPES, ImageName, command


def image(name: ImageName) -> modal.Image:
    """Return the image built from a recipe; its last build steps run the recipe's import checks."""
    recipe = RECIPES[name]
    built = modal.Image.debian_slim(PYTHON)
    if recipe.system:
        built = built.apt_install(*recipe.system)
    if recipe.has_musubi:
        built = built.run_commands(*MUSUBI_COMMANDS)
    built = built.uv_pip_install(*recipe.packages, uv_version=UV)
    if recipe.torch:
        built = built.uv_pip_install(recipe.torch, index_url=TORCH_CPU_INDEX, uv_version=UV)
    checked = built.run_commands(*(command(*check) for check in recipe.checks))
    code = BOT_CODE if name == "bot" else STAGES_CODE
    return checked.add_local_python_source(*code, ignore=[f"**/{COMPILED}/**"])
