"""The codes about images and clips."""

from collections.abc import Mapping

from training.dataset.findings.rule import Rule, error, repaired, warning

IMAGES: Mapping[str, Rule] = {
    "corrupt-image": error(
        "cannot be decoded",
        "cannot be decoded",
        "",
        "Export the image again or take it out of the zip.",
    ),
    "image-too-large": error(
        "has more pixels than can be handled",
        "have more pixels than can be handled",
        "",
        "Scale it down; a long side of 2048 pixels is more than training uses.",
    ),
    "image-too-small": error(
        "is too small to train on",
        "are too small to train on",
        "",
        "Use an image with at least 512 pixels on each side.",
    ),
    "animated-image": error(
        "holds several pictures, as an animation or pages",
        "hold several pictures, as an animation or pages",
        "The trainer would use the first one only.",
        "Save what moves as an MP4 clip, and what stands as a still PNG.",
    ),
    "alpha-channel": repaired(
        "has transparent parts",
        "have transparent parts",
        "The trainer would show what is hidden behind them.",
        "Put on white; use your own background if that matters.",
        "warning",
    ),
    "opaque-alpha": repaired(
        "has an alpha channel without use",
        "have an alpha channel without use",
        "",
        "Removed; the picture is unchanged.",
    ),
    "sixteen-bit": repaired(
        "has 16 bits a pixel",
        "have 16 bits a pixel",
        "The trainer would make most of it white.",
        "Converted to 8 bits.",
    ),
    "colour-profile": repaired(
        "has a colour profile other than sRGB",
        "have colour profiles other than sRGB",
        "The trainer ignores profiles and would learn wrong colours.",
        "Converted to sRGB.",
    ),
}

CLIPS: Mapping[str, Rule] = {
    "corrupt-clip": error(
        "cannot be decoded",
        "cannot be decoded",
        "",
        "Export the clip again or take it out of the zip.",
    ),
    "no-picture": error(
        "has no picture, only sound or nothing",
        "have no picture, only sound or nothing",
        "",
        "Export the clip again, with its video track.",
    ),
    "clip-too-large": error(
        "has more pixels than can be handled",
        "have more pixels than can be handled",
        "",
        "Scale it to 1920 x 1080 or 1280 x 720.",
    ),
    "clip-too-small": error(
        "is too small to train on",
        "are too small to train on",
        "",
        "Use clips of at least 832 x 480 pixels.",
    ),
    "clip-too-long": error(
        "is too long", "are too long", "", "Cut it into scenes of 2 to 10 seconds."
    ),
    "hdr": error(
        "is in HDR",
        "are in HDR",
        "Wan is trained on SDR; how to bring HDR down to it is a matter of taste.",
        "Export it in SDR (Rec. 709, sRGB) from your editor, where you see the result.",
    ),
    "clip-too-short": warning(
        "is too short to show movement",
        "are too short to show movement",
        "Training takes 21 frames (1.3 s) and more; a shorter clip is used at its own length.",
        "Use clips of at least 1.4 s, better 3 s.",
    ),
    "fps-not-16": repaired(
        "does not run at 16 frames a second",
        "do not run at 16 frames a second",
        "Wan is trained at 16; other clips would be learned as slow motion.",
        "Converted to 16 fps; length and speed stay as they are.",
    ),
    "low-fps": repaired(
        "has fewer than 16 frames a second",
        "have fewer than 16 frames a second",
        "Frames are repeated to keep the speed, which the LoRA may learn as stutter.",
        "Converted to 16 fps; use footage with at least 16 frames a second if you can.",
        "warning",
    ),
    "variable-fps": repaired(
        "has a variable frame rate",
        "have a variable frame rate",
        "The trainer counts frames, not time, and would speed them up and slow them down.",
        "Converted to an even 16 fps.",
    ),
    "frames-not-4n1": repaired(
        "has a number of frames that Wan does not use",
        "have numbers of frames that Wan does not use",
        "Wan takes 4N+1 frames: 21, 45, 81.",
        "The last one to three frames are cut.",
    ),
    "rotated": repaired(
        "is stored lying and shown upright",
        "are stored lying and shown upright",
        "The trainer ignores the mark and would learn it lying.",
        "Turned.",
    ),
    "odd-size": repaired(
        "has an odd width or height",
        "have an odd width or height",
        "Video is stored in blocks of two pixels.",
        "One row or column is cut.",
    ),
    "non-square-pixels": repaired(
        "has pixels that are not square",
        "have pixels that are not square",
        "The trainer would learn it stretched.",
        "Scaled to square pixels.",
    ),
    "deep-colour": repaired(
        "has more than 8 bits per colour",
        "have more than 8 bits per colour",
        "",
        "Converted to 8 bits.",
    ),
    "dropped-alpha": repaired(
        "is marked as transparent, in a form that is not read",
        "are marked as transparent, in a form that is not read",
        "What lies behind transparent parts shows.",
        "The mark is left out; export on a background of your own if the pictures look wrong.",
        "warning",
    ),
    "interlaced": repaired(
        "is interlaced", "are interlaced", "Moving edges would be learned as combs.", "Joined."
    ),
    "audio-dropped": repaired(
        "has sound", "have sound", "Wan learns pictures only.", "The sound is left out."
    ),
}

LOOKS: Mapping[str, Rule] = {
    "low-resolution": warning(
        "has few pixels",
        "have few pixels",
        "They are enlarged for training, and the LoRA learns the softness.",
        "Use footage of at least 832 x 480, or 1280 x 720 for a 720p model.",
    ),
    "extreme-aspect": warning(
        "is far wider or taller than Wan's formats",
        "are far wider or taller than Wan's formats",
        "Training cuts off what does not fit.",
        "Crop it to 16:9, 4:3, 1:1, 3:4 or 9:16 around the subject.",
    ),
    "blurry": warning(
        "is blurred", "are blurred", "The LoRA learns the blur.", "Use sharp footage if you can."
    ),
    "static-clip": warning(
        "does not move",
        "do not move",
        "A clip without movement teaches a video model to stand still.",
        "Use it as an image, or choose a clip with movement.",
    ),
    "black-frames": warning(
        "has black frames",
        "have black frames",
        "The LoRA learns them as part of the scene.",
        "Cut fades and black parts away.",
    ),
    "black-image": warning(
        "is black", "are black", "There is nothing to learn from it.", "Take it out of the zip."
    ),
    "blank-image": warning(
        "is one colour throughout",
        "are one colour throughout",
        "There is nothing to learn from it.",
        "Take it out of the zip.",
    ),
    "blank-frames": warning(
        "has frames of one colour",
        "have frames of one colour",
        "The LoRA learns flashes and fades as part of the scene.",
        "Cut flashes and fades away.",
    ),
    "letterboxed": warning(
        "has black bars",
        "have black bars",
        "The LoRA learns the bars.",
        "Crop the bars away and export again.",
    ),
    "scene-cut": warning(
        "has a cut to another scene",
        "have cuts to other scenes",
        "The LoRA learns to jump; Wan is trained on single shots.",
        "Split at the cuts, one clip for each shot.",
    ),
}
