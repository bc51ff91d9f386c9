"""A stand-in for musubi-tuner: the places that the launcher hooks into, on a model of one layer."""
