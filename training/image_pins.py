"""Exact versions of all that is installed in an image, so that two builds are one."""

from training.musubi.launcher.hooks import MUSUBI_COMMIT

PYTHON = "3.11"
UV = "0.9.9"

# What the bot and the stages themselves run with; no torch among it.
PACKAGES = (
    "aiohttp==3.14.5",
    "av==18.1.0",
    "cyclopts==5.5.2",
    "discord.py==2.7.1",
    "httpx==0.28.1",
    "httpx2==2.16.2",
    "huggingface_hub==2.4.0",
    "itsdangerous==2.2.0",
    "jsonschema==4.26.0",
    "modal==1.6.4",
    "noto-cjk-sans-jp-regular==0.0.1",
    "numpy==2.4.6",
    "packaging==26.4",
    "pillow==13.0.0",
    "psutil==7.2.2",
    "pydantic==2.14.4",
    "pydantic-settings==2.16.3",
    "rich==15.0.0",
    "safetensors==0.8.0",
    "tomli-w==1.2.0",
)

# The merge calculates on a CPU, with the version that its tests run with.
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# musubi-tuner pins what it was written for; these it leaves open.
MUSUBI_REPOSITORY = "https://github.com/kohya-ss/musubi-tuner"
MUSUBI_FOLDER = "/opt/musubi-tuner"
MUSUBI_PYTHON = f"{MUSUBI_FOLDER}/.venv/bin/python"
MUSUBI_EXTRA = "cu128"
MUSUBI_PACKAGES = ("torch==2.9.1", "torchvision==0.24.1", "bitsandbytes==0.48.2")

MUSUBI_COMMANDS = (
    f"git clone {MUSUBI_REPOSITORY} {MUSUBI_FOLDER}",
    f"cd {MUSUBI_FOLDER} && git checkout {MUSUBI_COMMIT}",
    f"cd {MUSUBI_FOLDER} && python -m venv .venv",
    f"python -m pip install uv=={UV}",
    # The project names the index of its CUDA builds itself.
    f"cd {MUSUBI_FOLDER} && python -m uv pip install --python {MUSUBI_PYTHON} "
    f"--editable '.[{MUSUBI_EXTRA}]' {' '.join(MUSUBI_PACKAGES)}",
)
