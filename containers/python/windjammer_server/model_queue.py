# Infer calls on their way from the connections to the model, which runs them one after the other in the main thread.
import threading
import time
from queue import SimpleQueue

from .request_error import RequestError

# How often a waiting call looks whether its caller has gone.
_LOOK_SECONDS = 0.25


class Call:
    """One infer call. Also the deadline that the search for bad rows asks."""

    __slots__ = ("inputs", "count", "ends_at", "outputs", "errors", "compute_us", "failure", "_is_cancelled", "_done")

    def __init__(self, inputs, count, ends_at):
        self.inputs = inputs
        self.count = count
        # `time.monotonic()` seconds at which nobody waits any more.
        self.ends_at = ends_at
        self.outputs = None
        self.errors = None
        self.compute_us = 0
        self.failure = None
        self._is_cancelled = False
        # A plain lock is the cheapest way to wait for another thread.
        self._done = threading.Lock()
        self._done.acquire()

    def is_over(self):
        return self._is_cancelled or time.monotonic() >= self.ends_at

    def why_over(self):
        return "The caller has gone" if self._is_cancelled else "The deadline has passed"

    def finish(self):
        self._done.release()

    def wait(self, has_gone):
        """Waits for the answer. Raises RequestError; False when the caller has gone."""
        while not self._done.acquire(timeout=_LOOK_SECONDS):
            if has_gone():
                self._is_cancelled = True
                return False
        if self.failure is not None:
            raise self.failure
        return True


class NoDeadline:
    """Of the warm-up."""

    def is_over(self):
        return False

    def why_over(self):
        return ""


class ModelQueue:
    def __init__(self):
        self._calls = SimpleQueue()
        self.is_ready = False

    def add(self, call):
        self._calls.put(call)

    def stop(self):
        """Ends `run` after the calls that wait."""
        self._calls.put(None)

    def run(self, model):
        """Runs calls in this thread until `stop`. What ends the process (SystemExit) passes through."""
        while True:
            call = self._calls.get()
            if call is None:
                return
            if call.is_over():
                call.failure = RequestError(504, "the deadline passed before the model could start")
                call.finish()
                continue
            started_at = time.perf_counter_ns()
            try:
                call.outputs, call.errors = model.predict(call.inputs, call.count, call)
            except Exception as error:
                call.failure = error
            call.compute_us = (time.perf_counter_ns() - started_at) // 1000
            call.finish()
