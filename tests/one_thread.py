"""Keeps NumPy and torch to one thread, here and in the processes that tests start.

They read this when they are loaded, so `conftest.py` imports it first. The matrices of tests are
small: more threads do not make them faster, but spin on the cores that other tests need.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
