"""Runs musubi-tuner's unmodified scripts in their own environment, with progress and clean stops.

It runs in musubi-tuner's environment. So it must work on Python 3.10 and may import only the
standard library, musubi-tuner's dependencies such as torch, and modules of this project that follow
the same rule.
"""
