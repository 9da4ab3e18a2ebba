# Memory limit of a model container: watches its resident memory.
import os
import threading
import time

_MIB = 2**20
_POLL_SECONDS = 0.25


def watch_memory(limit_mb, on_exceeded):
    """Calls `on_exceeded` with a message, from a thread of its own, once the limit is passed."""

    def watch():
        while True:
            resident_mb = round(_resident_bytes() / _MIB)
            if resident_mb > limit_mb:
                return on_exceeded(f"out of memory: {resident_mb} MiB resident, limit {limit_mb} MiB")
            time.sleep(_POLL_SECONDS)

    threading.Thread(target=watch, name="memory", daemon=True).start()


def _resident_bytes():
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        # Where there is no /proc: the most that it ever was, in bytes on macOS.
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
