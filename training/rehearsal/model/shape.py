"""The tiny model's sizes, tensor names and adapter modules."""

from typing import Literal

from training.lora.modules import wan_modules
from training.vocabulary import Widths

InChannels = Literal[16, 36]

BLOCKS = 2
WIDTH = 96
FFN_WIDTH = 192
HEADS = 4
TIME_WIDTH = 256
TEXT_WIDTH = 4096
IMAGE_WIDTH = 1280
IMAGE_TOKENS = 257
LATENT_CHANNELS = 16
PATCH_AREA = 4  # Wan's patch is 1 x 2 x 2 latent pixels
# In files repackaged for ComfyUI, every tensor name begins with this; musubi also accepts it.
KEY_PREFIX = "model.diffusion_model."


def adapter_widths(*, clip: bool) -> Widths:
    """Return the modules that an adapter changes, each with (inputs, outputs), in model order.

    Args:
        clip: Whether the model reads CLIP image tokens, as Wan 2.1 image to video does.
    """
    return wan_modules(blocks=BLOCKS, width=WIDTH, ffn_width=FFN_WIDTH, clip=clip)


def tensor_shapes(in_channels: InChannels, *, clip: bool) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of the tiny model, keyed by Wan's tensor names.

    Args:
        in_channels: 16 for text to video; 36 (latent, mask, image latent) for image to video.
        clip: Whether the model reads CLIP image tokens, as Wan 2.1 image to video does.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (WIDTH, in_channels, 1, 2, 2),
        "patch_embedding.bias": (WIDTH,),
        **_linear("text_embedding.0", TEXT_WIDTH, WIDTH),
        **_linear("text_embedding.2", WIDTH, WIDTH),
        **_linear("time_embedding.0", TIME_WIDTH, WIDTH),
        **_linear("time_embedding.2", WIDTH, WIDTH),
        **_linear("time_projection.1", WIDTH, 6 * WIDTH),
    }
    if clip:
        shapes |= {
            "img_emb.proj.0.weight": (IMAGE_WIDTH,),
            "img_emb.proj.0.bias": (IMAGE_WIDTH,),
            **_linear("img_emb.proj.1", IMAGE_WIDTH, WIDTH),
            **_linear("img_emb.proj.3", WIDTH, WIDTH),
            "img_emb.proj.4.weight": (WIDTH,),
            "img_emb.proj.4.bias": (WIDTH,),
        }
    for module, widths in adapter_widths(clip=clip).items():
        shapes |= _linear(module, *widths)
    for block in range(BLOCKS):
        shapes |= _norms(f"blocks.{block}", clip=clip)
    shapes |= _linear("head.head", WIDTH, PATCH_AREA * LATENT_CHANNELS)
    shapes["head.modulation"] = (1, 2, WIDTH)
    return shapes


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norms(block: str, *, clip: bool) -> dict[str, tuple[int, ...]]:
    names = ["self_attn.norm_q", "self_attn.norm_k", "cross_attn.norm_q", "cross_attn.norm_k"]
    if clip:
        names.append("cross_attn.norm_k_img")
    shapes: dict[str, tuple[int, ...]] = {f"{block}.{name}.weight": (WIDTH,) for name in names}
    shapes[f"{block}.norm3.weight"] = (WIDTH,)
    shapes[f"{block}.norm3.bias"] = (WIDTH,)
    shapes[f"{block}.modulation"] = (1, 6, WIDTH)
    return shapes
