"""rayon: puts every article of a catalogue, known by its text and its photo, into its department.

Importing the package imports nothing heavy: torch, pandas and Metaflow are imported by the modules that use them. It
sets four defaults in the environment, which those libraries read once, when they are imported; a value that is already
there is left alone. And it has Python look for garbage less often.
"""

import atexit
import gc
import os

__version__ = "0.1.0"

# Threads that wait without sleeping slow down every other process: a training is up to ten times slower beside another.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Arrow's own allocator keeps some 50 MB of each process that it no longer needs; the system's gives them back.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
# As many tasks at a time as there are cores: sixteen, Metaflow's default, would share a laptop's memory.
os.environ.setdefault("METAFLOW_RUN_MAX_WORKERS", str(min(16, os.cpu_count() or 1)))
# Metaflow stops where no variable names a user other than root, as in most containers.
if all(os.environ.get(name, "root") in ("", "root") for name in ("METAFLOW_USER", "SUDO_USER", "USERNAME", "USER")):
    os.environ["METAFLOW_USER"] = "rayon"
# Imports make a million objects that stay. To go through them for garbage every 700 new ones, and once more when the
# process ends, takes a quarter of the processor time of a task that trains a small model.
gc.set_threshold(max(gc.get_threshold()[0], 50_000), *gc.get_threshold()[1:])
atexit.register(gc.freeze)
