"""A tiny trainer with musubi-tuner's command lines and file formats; runs on a CPU in seconds."""
