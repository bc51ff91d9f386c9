"""Receipts of merges that never happened."""

from training.merge.receipt import Receipt, fold_digests


def a_receipt(*, lora: str) -> Receipt:
    """Return the receipt of a merge of a LoRA file with this name."""
    digest = "0" * 64
    return Receipt(
        base_name="base.safetensors",
        lora_name=lora,
        base_sha256=digest,
        lora_sha256=digest,
        strength=1.0,
        output_digest=fold_digests([digest]),
        header_sha256=digest,
        tensor_sha256={"a": digest},
        layers_merged=400,
        layers_expected=400,
        layers_extra=0,
        tensors_changed=400,
        keys_skipped={},
        largest_change=0.01,
        largest_change_layer="a",
        sampled_max_error=0.00012,
        sampled_values=12_800,
        seconds=60,
        bytes=1,
        versions={},
    )
