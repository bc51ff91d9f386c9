"""The packages of each image, apart from our code, and the imports that must work in it.

An image's last build step runs these imports, so that a missing package or library makes the deploy
fail within minutes, rather than a stage on a paid GPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from training.deployment.image_pins import (
    INDIRECT,
    MUSUBI_PYTHON,
    MUSUBI_SYSTEM,
    PACKAGES,
    TORCH,
    TORCH_NEEDS,
)
from training.vocabulary import EngineName

ImageName = Literal["stage", "merge", "gpu", "bot"]

# The modules that our code in the containers imports; a test compares this with the source.
MODULES = (
    *("aiohttp", "aiohttp.hdrs", "aiohttp.typedefs", "aiohttp.web", "anyascii"),
    *("av", "av.container", "av.error", "av.filter", "av.sidedata.sidedata", "av.stream"),
    *("av.video.frame", "av.video.stream", "cachetools", "chardet"),
    *("cyclopts", "cyclopts.validators", "discord", "discord.app_commands", "discord.gateway"),
    *(
        "discord.backoff",
        "discord.http",
        "discord.webhook.async_",
        "filelock",
        "grpclib.exceptions",
        "httpx",
        "httpx2",
    ),
    *("huggingface_hub.constants", "huggingface_hub.errors"),
    *("huggingface_hub.file_download", "huggingface_hub.utils", "itsdangerous"),
    *("jsonschema.exceptions", "jsonschema.validators"),
    *("modal", "modal.config", "modal.exception"),
    *("numpy", "numpy.typing", "packaging.requirements", "PIL.Image", "PIL.ImageCms"),
    *("PIL.ImageDraw", "PIL.ImageFilter", "PIL.ImageFont", "PIL.ImageOps"),
    *("PIL.TiffImagePlugin", "psutil", "pydantic", "pydantic.fields"),
    *("rich.cells", "rich.console", "rich.measure", "rich.progress", "rich.table"),
    *("rich.text", "safetensors", "tenacity", "tomli_w"),
    *("typing_extensions", "yarl"),
)
TORCH_MODULES = ("torch", "torch.nn")
# Modules that must be importable in musubi-tuner's environment: its three scripts, its LoRA
# network, and what these and the launcher import.
MUSUBI_MODULES = (
    *("cv2", "av", "numpy", "bitsandbytes", "sentencepiece", "torchvision"),
    *("torch.optim.lr_scheduler", "torch.nn.attention", "torch.utils.checkpoint"),
    "musubi_tuner.wan_cache_latents",
    *("musubi_tuner.wan_cache_text_encoder_outputs", "musubi_tuner.wan_train_network"),
    *("musubi_tuner.networks.lora_wan", "musubi_tuner.dataset.media_utils"),
    *("musubi_tuner.dataset.image_video_dataset", "musubi_tuner.dataset.bucket"),
    *("musubi_tuner.dataset.cache_io", "musubi_tuner.utils.safetensors_utils"),
    *("musubi_tuner.utils.train_utils", "musubi_tuner.training.trainer_base"),
)

# This program checks that the image formats of datasets and the font of contact sheets exist.
_PICTURES = (
    "from importlib.resources import files; from PIL import ImageFont, features",
    "assert all(map(features.check, ('jpg', 'zlib', 'webp', 'freetype2', 'littlecms2')))",
    "font = files('noto_cjk_sans_jp_regular') / 'NotoSansCJKjp-Regular.otf'",
    "ImageFont.truetype(str(font), 12, layout_engine=ImageFont.Layout.BASIC)",
)
# musubi-tuner's T5 asks for the current GPU when it is imported, but an image build has no GPU.
_NO_GPU = "import torch; torch.cuda.current_device = lambda: 0"
# No import needs the C++ compiler, but torch needs it to compile training steps.
_COMPILER = "from shutil import which; assert which('g++'), 'torch has no compiler'"
# These checks work only in the image, which has the CUDA build of torch.
_CUDA = (
    "from pathlib import Path; build = torch.version.cuda.replace('.', '')",
    "library = Path(bitsandbytes.__file__).with_name(f'libbitsandbytes_cuda{build}.so')",
    "assert library.exists(), f'bitsandbytes has no {library.name}'",
    "assert torch.backends.cudnn.version() >= 91500, 'cuDNN is older than 9.15'",
    "import flash_attn.cute.interface",
)


def _program(*statements: str, modules: tuple[str, ...]) -> str:
    return "; ".join((f"import {', '.join(modules)}", *statements))


PACKAGES_CHECK = _program(*_PICTURES, modules=MODULES)
TORCH_CHECK = _program(modules=TORCH_MODULES)
MUSUBI_CHECK = f"{_NO_GPU}; {_COMPILER}; {_program(modules=MUSUBI_MODULES)}"
MUSUBI_CUDA_CHECK = "; ".join((MUSUBI_CHECK, *_CUDA))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """The packages of one image.

    Attributes:
        system: Debian packages.
        packages: Python packages for the container's interpreter.
        torch: The CPU build of torch for the container's interpreter; "" for none.
        has_musubi: Whether musubi-tuner is installed, in a separate environment.
    """

    system: tuple[str, ...] = ()
    packages: tuple[str, ...] = (*PACKAGES, *INDIRECT)
    torch: str = ""
    has_musubi: bool = False

    @property
    def program(self) -> str:
        """Return the Python program that checks the imports of the container's interpreter."""
        return f"{PACKAGES_CHECK}; {TORCH_CHECK}" if self.torch else PACKAGES_CHECK

    @property
    def checks(self) -> tuple[tuple[str, str], ...]:
        """Return each Python interpreter of the image, with a program that checks its imports."""
        own = ("python", self.program)
        return ((MUSUBI_PYTHON, MUSUBI_CUDA_CHECK), own) if self.has_musubi else (own,)


RECIPES: Mapping[ImageName, ImageRecipe] = MappingProxyType(
    {
        "stage": ImageRecipe(),
        "merge": ImageRecipe(packages=(*PACKAGES, *INDIRECT, *TORCH_NEEDS), torch=TORCH),
        "gpu": ImageRecipe(system=MUSUBI_SYSTEM, has_musubi=True),
        "bot": ImageRecipe(),
    }
)


def images_of(engine: EngineName) -> tuple[ImageName, ...]:
    """Return the images of a deployment with this engine; rehearsals need no GPU image."""
    return tuple(name for name in RECIPES if engine == "musubi" or name != "gpu")


def command(python: str, program: str) -> str:
    """Return the shell command that runs `program`, which must not contain double quotes."""
    return f'{python} -c "{program}"'
