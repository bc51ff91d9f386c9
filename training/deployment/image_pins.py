"""Exact versions of everything that images install, so that builds are reproducible."""

from training.musubi.launcher.hooks import MUSUBI_COMMIT

PYTHON = "3.11"
# The version of Modal's image builder; this one has Python 3.11 on Debian bookworm. If none is
# given, the workspace's settings decide.
IMAGE_BUILDER, BUILDER_VARIABLE = "2025.06", "MODAL_IMAGE_BUILDER_VERSION"
UV = "0.9.9"

# Direct dependencies of the bot and the stages; no torch.
PACKAGES = (
    "aiohttp==3.14.5",
    "av==18.1.0",
    "anyascii==0.3.3",
    "cachetools==8.0.2",
    "chardet==7.7.0",
    "cyclopts==5.5.2",
    "discord.py==2.7.1",
    "filelock==4.3.1",
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
    "rich==15.0.0",
    "safetensors==0.8.0",
    "tenacity==9.2.1",
    "tomli-w==1.2.0",
)

# Dependencies of the packages above.
INDIRECT = (
    "aiohappyeyeballs==2.7.1",
    "aiosignal==1.4.0",
    "annotated-types==0.8.0",
    "anyio==4.16.0",
    "attrs==26.1.0",
    "cbor2==6.3.0",
    "certifi==2026.10.19.post1",
    "click==8.5.1",
    "docstring-parser==0.18.0",
    "frozenlist==1.8.0",
    "fsspec==2026.9.0",
    "grpclib==0.4.9",
    "h11==0.16.0",
    "h2==4.4.1",
    "hf-xet==1.8.0",
    "hpack==4.2.0",
    "httpcore2==2.16.2",
    "httpcore==1.0.9",
    "hyperframe==6.1.0",
    "idna==3.20",
    "jsonschema-specifications==2025.9.1",
    "markdown-it-py==4.3.0",
    "mdurl==0.1.2",
    "multidict==7.2.1",
    "propcache==0.5.4",
    "protobuf==7.36.2",
    "pydantic-core==2.50.5",
    "pygments==2.21.0",
    "pyyaml==6.0.4",
    "referencing==0.37.0",
    "rich-rst==2.2.0",
    "rpds-py==2026.9.1",
    "synchronicity==0.12.7",
    "toml==0.10.2",
    "tqdm==4.70.1",
    "truststore==0.10.5",
    "types-certifi==2021.10.8.3",
    "types-toml==0.10.8.20260518",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
    "watchfiles==1.3.0",
    "yarl==1.25.1",
)

# The merge stage runs on a CPU; its tests use the same version of torch.
TORCH = "torch==2.13.0"
# Dependencies of torch, installed from PyPI because torch's own index has only some of them.
TORCH_NEEDS = (
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    "mpmath==1.3.0",
    "networkx==3.6.1",
    "setuptools==84.2.1",
    "sympy==1.14.0",
)
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# musubi-tuner, and the dependencies that it does not pin itself.
MUSUBI_REPOSITORY = "https://github.com/kohya-ss/musubi-tuner"
MUSUBI_FOLDER = "/opt/musubi-tuner"
MUSUBI_PYTHON = f"{MUSUBI_FOLDER}/.venv/bin/python"
# Debian packages that musubi-tuner's requirements need; opencv-python links to libGL and glib.
# Triton compiles the launchers of its kernels with a C compiler, which comes with g++.
MUSUBI_SYSTEM = ("git", "g++", "libgl1", "libglib2.0-0")
# CUDA 13.0, which needs NVIDIA driver 580 or newer; Modal has 580.95. cuDNN 9.15 or newer is needed
# for half-precision 3-D convolutions (pytorch#166643); torch 2.11 comes with 9.19. On an H200
# (torch 2.11.0+cu130, cuDNN 9.19, driver 580.159) the VAE encodes 45 frames at 720p in bf16 in 1.58
# s with a peak of 13.2 GiB. Without cuDNN, one 3-D convolution takes 19.4 GiB instead of 3.3 GiB.
MUSUBI_EXTRA = "cu130"
MUSUBI_PACKAGES = (
    "torch==2.11.0",  # torch itself pins its NVIDIA libraries
    "torchvision==0.26.0",
    "bitsandbytes==0.49.2",
    "setuptools==80.9.0",
    "cuda-bindings==13.5.0",
    "cuda-pathfinder==1.9.1",
    "certifi==2026.10.19.post1",
    "charset-normalizer==3.5.3",
    "filelock==4.3.1",
    "fsspec==2026.9.0",
    "hf-xet==1.8.0",
    "idna==3.20",
    "importlib-metadata==10.2.0",
    "jinja2==3.1.6",
    "lazy-importer==0.1.0",
    "markupsafe==3.0.4",
    "mpmath==1.3.0",
    "networkx==3.6.1",
    "numpy==2.4.6",
    "packaging==26.4",
    "pillow==13.0.0",
    "psutil==7.2.2",
    "pyyaml==6.0.4",
    "regex==2026.11.19",
    "requests==2.34.2",
    "sympy==1.14.0",
    "tokenizers==0.22.2",
    "typing-extensions==4.16.0",
    "urllib3==2.8.0",
    "wcwidth==0.9.4",
    "zipp==4.1.2",
    # The faster attention kernel of compiled steps; its version is a beta. It needs the CUDA 12
    # libraries of nvidia-cutlass-dsl too, although torch uses CUDA 13.
    "flash-attn-4==4.0.0b36",
    "apache-tvm-ffi==0.1.15.post2",
    "nvidia-cutlass-dsl==4.8.1",
    "nvidia-cutlass-dsl-libs-base==4.8.1",
    "nvidia-cutlass-dsl-libs-core==4.8.1",
    "nvidia-cutlass-dsl-libs-cu12==4.8.1",
    "nvidia-cutlass-dsl-libs-cu13==4.8.1",
    "protobuf==7.36.2",
    "quack-kernels==0.6.5",
    "torch-c-dlpack-ext==0.1.5",
)
# Build dependencies of musubi-tuner itself.
MUSUBI_BUILD = (
    *("hatchling==1.33.0", "editables==0.6", "packaging==26.4", "pathspec==1.1.1"),
    *("pluggy==1.7.0", "tomlkit==0.15.2", "trove-classifiers==2026.9.21.13"),
)
_BUILD_FILE = "/opt/musubi-build.txt"

MUSUBI_COMMANDS = (
    f"git clone {MUSUBI_REPOSITORY} {MUSUBI_FOLDER}",
    f"cd {MUSUBI_FOLDER} && git checkout {MUSUBI_COMMIT}",
    f"cd {MUSUBI_FOLDER} && python -m venv .venv",
    f"python -m pip install uv=={UV}",
    f"printf '%s\\n' {' '.join(MUSUBI_BUILD)} > {_BUILD_FILE}",
    # musubi-tuner's pyproject.toml names the index of the CUDA builds.
    f"cd {MUSUBI_FOLDER} && python -m uv pip install --python {MUSUBI_PYTHON} "
    f"--build-constraints {_BUILD_FILE} --editable '.[{MUSUBI_EXTRA}]' {' '.join(MUSUBI_PACKAGES)}",
)
