"""A tiny real trainer with musubi-tuner's command lines and file formats, on CPU, in seconds."""
