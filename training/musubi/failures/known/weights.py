"""Failures that are caused by weight files, training states or initial LoRAs."""

from dataclasses import replace

from training.musubi.failures.known.entry import (
    CACHES,
    MODEL_FILE,
    WEIGHTS,
    KnownFailure,
    outside,
)

_ENDINGS = r"safetensors|sft|pth?|ckpt|bin|gguf"
_STATE_DICT = r"Error\(s\) in loading state_dict for"
_RESUMING = (
    r"[, ]in (resume_from_local_or_hf_if_specified|_readable)\n|launcher/randomness\.py"
    r"|random_states_|accelerate\S+checkpointing\.py"
)
_DAMAGED = KnownFailure(
    "damaged-weights",
    r"SafetensorError: (Error while deserializing|(Header|Invalid|Metadata|Incomplete)\w+|header)"
    r"|PytorchStreamReader failed|invalid load key|unexpected EOF, expected|BadZipFile"
    r"|mmap length is greater than file size|file might be corrupted|pickle data was truncated"
    r"|not a ZIP archive|unpack requires a buffer of 8 bytes",
    "A weight file is cut off, damaged, or in another format (such as GGUF, or a web page).",
    WEIGHTS,
)

WEIGHT_FAILURES = (
    KnownFailure(
        "loss-no-number",
        r"avr_loss=|NaN detected|loss scale already at minimum"
        r"|returned nan values|[Ll]oss (is|became) (nan|NaN|inf)",
        "The loss became NaN: everything trained since then is worthless.",
        "Start a new run with a lower learning rate. If the loss is NaN from the first step, "
        "rebuild the caches and check that the precision fits the base model. Only "
        "checkpoints saved before the NaN are usable.",
        resumable=False,
    ),
    KnownFailure(
        "weights-precision",
        r"DiT weights are in (?P<has>\w+), mixed precision must be",
        "The base model is in {has}, but training uses another precision.",
        MODEL_FILE,
    ),
    KnownFailure(
        "fp8-file",
        r"DiT weights is already in fp8 format|is already in torch\.float8\w* format",
        "The base model is already in 8 bits and cannot be scaled to 8 bits.",
        MODEL_FILE,
    ),
    KnownFailure(
        "fp8-calculation",
        r"Float8_\w+|float8_e\w+|Promotion for Float8",
        "torch cannot do this calculation on the model's 8-bit weights: {line}",
        "Use the base model's file in 16 bits, or train with 8-bit weights turned on (fp8_base) "
        "and the mixed precision bf16 or fp16.",
    ),
    KnownFailure(
        "text-encoder-file",
        rf"{_STATE_DICT} (T5|UMT5|CLIP|XLMRoberta)\w*:.*(scaled_fp8|scale_weight|spiece_model"
        r"|encoder\.block\.|model\.encoder|text_model\.|vision_model\.|weight_scale|comfy_quant)",
        "The text or image encoder's file is made for ComfyUI, and the trainer cannot read it.",
        "Use the original encoder of Wan-AI (models_t5_umt5-xxl-enc-bf16.pth, "
        "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth), then resume the run.",
    ),
    KnownFailure(
        "fp8-scaled-file",
        rf"{_STATE_DICT} \w+.*(scaled_fp8|scale_weight|weight_scale|scale_input"
        r"|input_scale|comfy_quant)",
        "The base model is a scaled 8-bit file, made for ComfyUI, which cannot be trained on.",
        "Use the same model's file in 16 bits, then resume the run.",
    ),
    KnownFailure(
        "quantised-file",
        rf"{_STATE_DICT} \w+.*(quant_state|\.absmax|qweight|wscales|qzeros|nf4|svdq)",
        "The base model is quantized for inference and cannot be trained on.",
        "Use the same model's file in 16 bits, then resume the run.",
    ),
    KnownFailure(
        "gguf-file",
        r"\.gguf\b|GGUF|invalid load key, 'G'",
        "The weight file is in the format GGUF, which the trainer cannot read.",
        "Use the model's safetensors file in 16 bits, then resume the run.",
    ),
    KnownFailure(
        "weights-of-other-size",
        rf"{_STATE_DICT} WanModel.*patch_embedding\.weight: copying a param with shape "
        r"torch\.Size\(\[(?P<width>\d+), .*?current model is torch\.Size\(\[(?!(?P=width)\b)\d+",
        "The base model's size (1.3B, 5B or 14B) differs from the size of the run's model.",
        MODEL_FILE,
    ),
    KnownFailure(
        "weights-of-other-task",
        rf"{_STATE_DICT} WanModel.*size mismatch for patch_embedding\.weight",
        "The base model is for text to video, but the run trains image to video, or vice versa.",
        MODEL_FILE,
    ),
    KnownFailure(
        "weights-of-other-version",
        rf"({_STATE_DICT} WanModel|AssertionError: (Missing|Unexpected) keys: ).*(img_emb|k_img)",
        "The base model is Wan 2.1, but the run trains Wan 2.2, or vice versa.",
        MODEL_FILE,
    ),
    KnownFailure(
        "rank-mismatch",
        r"state_dict for LoRANetwork.*size mismatch",
        "The initial LoRA has a different rank than the run.",
        "Start a new run with that LoRA's rank.",
        resumable=False,
    ),
    KnownFailure(
        "resume-state-missing",
        r"Tried to find (?P<folder>.+) but folder does not exist",
        "The training state {folder} no longer exists.",
        "Resume the run: it continues from the newest state that exists.",
    ),
    KnownFailure(
        "resume-state-unusable",
        r".",
        "The training state cannot be loaded: {line}",
        "Move the state's folder away and resume the run: it continues from the previous state.",
        within=_RESUMING,
    ),
    KnownFailure(
        "resume-state-other",
        r"loaded state dict .*parameter group"
        r"|No such file .*(optimizer|scheduler|random_states_\d+)\.(bin|pkl)\b",
        "The training state is incomplete or belongs to other settings: {line}",
        "Move the state's folder away and resume the run: it continues from the previous state.",
    ),
    KnownFailure(
        "wrong-weights",
        rf"{_STATE_DICT} (?P<part>\w+)",
        "A weight file does not match the model ({part}).",
        MODEL_FILE,
    ),
    KnownFailure(
        "wrong-weights",
        r"AssertionError: (Missing|Unexpected) keys: ",
        "A weight file does not match the model: {line}",
        MODEL_FILE,
    ),
    KnownFailure(
        "wrong-vae",
        r"Cannot copy out of meta tensor",
        "The VAE file does not contain the Wan VAE.",
        MODEL_FILE,
        within=r"vae",
    ),
    KnownFailure(
        "weights-incomplete",
        r"Cannot copy out of meta tensor|meta tensors?\b|Tensor '[^']+' not found in the file"
        r"|KeyError: '(\w+\.)*(blocks|patch_embedding|head)\.",
        "A weight file lacks tensors that the model needs: it is incomplete, or for another model.",
        MODEL_FILE,
        # These move parts of a model between devices, so their tensors may be on "meta" by design.
        within=outside(
            r"accelerate[/\\](hooks|big_modeling|utils[/\\](offload|modeling))|deepspeed|fsdp"
            r"|bitsandbytes|quanto|peft"
        ),
    ),
    KnownFailure(
        "unknown-weights",
        r"Could not find the dtype in the model weights",
        "The base model's file does not contain a Wan model.",
        MODEL_FILE,
    ),
    KnownFailure(
        "damaged-cache",
        r"SafetensorError: Error while deserializing|JSONDecodeError|UnicodeDecodeError"
        r"|struct\.error|Internal: |EOFError",
        "A cache file is truncated, probably by an interruption.",
        CACHES,
        relief="caches",
        within=r"\A(?!(?s:.*)jsonl)(?s:.*)"
        r"(musubi_tuner[/\\]dataset[/\\](bucket|image_video|cache)|_wan(_te)?\.safetensors"
        r"|latent_cache_path|text_encoder_output_cache_path)",
    ),
    replace(
        _DAMAGED,
        pattern=r"shape '\[.*\]' is invalid for input of size|JSONDecodeError|UnicodeDecodeError"
        r"|struct\.error|MemoryError|OverflowError|EOFError|KeyError: 'data_offsets'"
        r"|self\.size\(-1\) must be divisible",
        within=r"safetensors_utils|_read_header|_deserialize_tensor|load_safetensors|safetensors"
        r"[/\\]torch|torch[/\\]serialization",
    ),
    _DAMAGED,
    KnownFailure(
        "pickle-file",
        r"Weights only load failed|weights_only|Unsupported (global|class|operand)",
        "A weight file holds more than weights, so torch refuses to load it for safety.",
        "Use a safetensors file, or the original file of the model's makers; then resume the run.",
    ),
    KnownFailure(
        "weights-missing",
        rf"(FileNotFoundError|No such file or directory)(?!.*_wan(_te)?\.safetensors).*"
        r"(['\"]|File |: )"
        rf"(?P<file>[^'\"\n]+\."
        rf"({_ENDINGS}))\b",
        "The weight file {file} is missing.",
        WEIGHTS,
    ),
)
