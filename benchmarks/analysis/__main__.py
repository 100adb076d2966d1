"""`python -m benchmarks.analysis [--only TEXT] [--rounds 5] [--list] [--out FILE]`."""

from __future__ import annotations

import os
import sys

# One thread, one core: has to be settled before numpy and the peers are imported.
_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA")
_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in _LIBRARIES} | {"POLARS_MAX_THREADS": "1"}

if any(os.environ.get(name) != value for name, value in _ONE_THREAD.items()):
    os.environ.update(_ONE_THREAD, MPLBACKEND="Agg", JAX_PLATFORMS="cpu")
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.analysis", *sys.argv[1:]])

from .runner import main  # noqa: E402

main()
