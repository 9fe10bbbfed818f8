# SPDX-License-Identifier: MIT
import os
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "python"))
os.environ.setdefault("AGENTSIGHT_LIBRARY", str(TOP / "out" / "libagentsight.so.1"))
