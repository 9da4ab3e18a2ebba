# The process in every Python model container: checks the interpreter, sets compute threads, starts the server.
import os
import sys

if sys.version_info < (3, 9):
    sys.exit("windjammer: Python models need Python 3.9 or newer, this is " + sys.version.split()[0])

# Numeric libraries read these when they are imported. What the model's own environment says counts first.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(name, os.environ.get("WINDJAMMER_THREADS") or "1")

# The bundle's folder is never written to, and no user of this file's folder may be allowed to.
sys.dont_write_bytecode = True

# multiprocessing imports this file once more, under another name, in the processes that a model spawns.
if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from windjammer_server.container import run

    # Modules of the model must not be shadowed by what lies here.
    sys.path.pop(0)
    run(os.environ)
