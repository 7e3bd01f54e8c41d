"""What every test needs: both frameworks in one process, torch first, and little noise."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Small tensors: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
