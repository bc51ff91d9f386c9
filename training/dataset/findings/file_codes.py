"""The codes about files, captions and the set as a whole."""

from collections.abc import Mapping

from training.dataset.findings.rule import Rule, error, left_out, repaired, warning

CAPTIONS: Mapping[str, Rule] = {
    "missing-caption": error(
        "has no caption",
        "have no caption",
        "Every image and clip needs its text.",
        "Add a .txt file with the same name beside each: 001.txt for 001.mp4.",
    ),
    "empty-caption": error(
        "has an empty caption file",
        "have an empty caption file",
        "",
        "Write what is to be seen, with your trigger word, into each of these files.",
    ),
    "unreadable-caption": error(
        "has a caption file that is not a plain text",
        "have caption files that are not plain texts",
        "",
        "Save the captions as plain text files (UTF-8, .txt), a paragraph each.",
    ),
    "caption-too-long": warning(
        "has a caption longer than Wan reads",
        "have captions longer than Wan reads",
        "Wan's text encoder reads 512 tokens, about 350 English words; the rest is lost.",
        "Shorten these captions to what matters, the trigger word first.",
    ),
    "caption-encoding": repaired(
        "has a caption that is not saved as UTF-8",
        "have captions that are not saved as UTF-8",
        "The trainer would stop at them.",
        "Converted; please check that accents and special letters look right.",
        "warning",
    ),
    "caption-name": repaired(
        "has a caption file under a slightly different name",
        "have caption files under slightly different names",
        "The trainer would not find them.",
        "The names are matched; nothing to do.",
    ),
    "captions-all-equal": warning(
        "",
        "have the same caption",
        "The LoRA then learns everything in the pictures, backgrounds too, as one thing.",
        "Describe in each caption what differs: pose, place, light, clothes.",
    ),
    "trigger-missing": warning(
        "does not have the trigger word in its caption",
        "do not have the trigger word in their captions",
        "The LoRA learns to answer to the word only where it stands.",
        "Have it prefixed to these captions (prefix), or write it into them.",
    ),
    "orphan-caption": warning(
        "is a caption without an image or clip",
        "are captions without an image or clip",
        "",
        "Add the missing media under the same name, or remove the text files.",
    ),
}

FILES: Mapping[str, Rule] = {
    "no-samples": error(
        "",
        "in the zip are images or clips that can be used",
        "",
        "Put PNG or JPEG images and MP4 clips into the zip, each with its .txt caption.",
    ),
    "damaged-in-zip": error(
        "is damaged inside the zip",
        "are damaged inside the zip",
        "",
        "Zip the folder again and upload it once more.",
    ),
    "unsupported-type": error(
        "is of a type that the trainer cannot read",
        "are of a type that the trainer cannot read",
        "",
        "Export images as PNG or JPEG and clips as MP4 (H.264), or take the files out.",
    ),
    "nested-archive": error(
        "is an archive inside the zip",
        "are archives inside the zip",
        "What lies in it would not be trained on.",
        "Unpack it, and zip the images, clips and captions themselves; or take it out.",
    ),
    "converted-type": repaired(
        "is of a type that the trainer skips",
        "are of a type that the trainer skips",
        "",
        "Converted: images to PNG without loss, clips to MP4.",
    ),
    "wrong-extension": repaired(
        "holds something else than its extension says",
        "hold something else than their extensions say",
        "",
        "Given the right extension.",
    ),
    "extension-case": repaired(
        "has an extension in mixed case",
        "have extensions in mixed case",
        "The trainer skips such files silently.",
        "Written in lower case.",
    ),
    "same-stem": repaired(
        "has the same name as another file but for the extension",
        "have the same names as other files but for the extensions",
        "The trainer would give them one caption and one cache.",
        "Renamed.",
        "warning",
    ),
    "renamed": repaired(
        "has a name with spaces, accents or signs",
        "have names with spaces, accents or signs",
        "",
        "Given a plain name.",
    ),
    "junk-ignored": left_out(
        "is a leftover of the operating system",
        "are leftovers of the operating system",
        "",
        "Left out.",
    ),
    "nested-folder": repaired(
        "encloses the whole dataset",
        "enclose the whole dataset",
        "",
        "Taken out of it; nothing to do.",
    ),
    "windows-separators": repaired(
        "has a name with backslashes between its folders",
        "have names with backslashes between their folders",
        "Many programs unpack these as one long name, without folders.",
        "Put into their folders.",
    ),
    "leftover-cache": left_out(
        "is a cache of an earlier training",
        "are caches of an earlier training",
        "The trainer would train on them whatever they hold.",
        "Left out; caches are made anew.",
    ),
    "toml-unused": left_out(
        "is a settings file", "are settings files", "", "Not used; settings are made to fit."
    ),
    "toml-found": left_out(
        "is a dataset TOML for the trainer",
        "are dataset TOMLs for the trainer",
        "",
        "Not used unless a run sets dataset-config to from-zip.",
    ),
    "other-file": left_out(
        "is neither image, clip nor caption",
        "are neither images, clips nor captions",
        "",
        "Left out.",
    ),
    "exact-duplicate": warning(
        "is the same file as another",
        "are the same files as others",
        "Copies make the LoRA memorise that one picture.",
        "Remove the copies.",
    ),
    "near-duplicate": warning(
        "looks almost like another",
        "look almost like others",
        "Near copies make the LoRA memorise that one picture.",
        "Keep the best of each, unless the likeness is meant.",
    ),
    "too-few-samples": warning(
        "",
        "of the set give little to learn from",
        "A LoRA from so few learns the pictures themselves rather than the subject.",
        "Use at least 10 images or clips, better 20 to 40.",
    ),
}
