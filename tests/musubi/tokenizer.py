"""Runs in musubi-tuner's environment: a tokenizer is made, or found as musubi's code finds it.

Usage: tokenizer.py make FOLDER | find REPOSITORY SUBFOLDER. Prints the tokens of one sentence.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

SENTENCE = "ann1ka walks"


def make(folder: Path) -> Any:
    """Save a tokenizer of a few words under the names of the real one."""
    tokenizers: Any = importlib.import_module("tokenizers")
    transformers: Any = importlib.import_module("transformers")
    words = ["<pad>", "</s>", "<unk>", "ann1ka", "walks", "▁"]
    model = tokenizers.models.Unigram([(word, -1.0) for word in words], unk_id=2)
    made = transformers.T5TokenizerFast(tokenizer_object=tokenizers.Tokenizer(model))
    made.save_pretrained(folder)
    return made


def find(repo: str, subfolder: str) -> Any:
    """Return the tokenizer that musubi's code gets by the name of its repository."""
    torch: Any = importlib.import_module("torch")
    torch.cuda.current_device = lambda: "cpu"  # musubi asks for it as soon as it is imported
    tokenizers: Any = importlib.import_module("musubi_tuner.wan.modules.tokenizers")
    return tokenizers.HuggingfaceTokenizer(
        name=repo, seq_len=8, clean="whitespace", subfolder=subfolder
    ).tokenizer


mode, *arguments = sys.argv[1:]
found = make(Path(arguments[0])) if mode == "make" else find(arguments[0], arguments[1])
print(json.dumps(found(SENTENCE)["input_ids"]))  # noqa: T201  # its output
