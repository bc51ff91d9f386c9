"""Runs musubi-tuner's scripts in their own environment and adds what they lack.

It imports only the standard library, musubi-tuner's own dependencies (torch), and modules of this
project with the same restriction. musubi-tuner's files stay unchanged. It runs on Python 3.10.
# Only this project's own package becomes importable. Its folder in `sys.path` would offer
"""
