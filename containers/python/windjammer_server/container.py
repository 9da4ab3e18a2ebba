# One model container: its parts, and the ways it ends.
import faulthandler
import os
import selectors
import signal
import sys
import threading
import traceback

from .environment import read_environment
from .http_server import HttpServer
from .manifest import read_manifest
from .memory import watch_memory
from .model_queue import ModelQueue, NoDeadline
from .protocol import EXIT_OUT_OF_MEMORY
from .user_code import LoadError, traceback_text

# A drain that takes longer is cut short.
_DRAIN_SECONDS = 30
# What the model's own clean-up at the exit may take.
_EXIT_SECONDS = 2


def say(message):
    """Written at once, since the process may end right after."""
    try:
        os.write(2, f"windjammer: {message}\n".encode("utf-8", "replace"))
    except OSError:
        # Nobody reads the log any more: what matters is that the process ends.
        pass


def end(code, message=None):
    """Ends the process from any thread; only the first one's reason counts."""
    if not _ending.acquire(blocking=False):
        threading.Event().wait()
    if message is not None:
        say(message)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # Closed, or a thing of the model's own.
            pass
    os._exit(code)


_ending = threading.Lock()


class _Container:
    def __init__(self, environment):
        self._environment = environment
        self._manifest = read_manifest(environment.model_dir)
        self._queue = ModelQueue()
        self._server = HttpServer(environment, self._manifest, self._queue)
        self._was_stopped = False

    def run(self):
        """The model runs in the main thread, as many libraries want it; everything else in others."""
        wake = _signals()
        standard_input = _take_standard_input() if self._environment.exits_with_parent else None
        if self._environment.memory_limit_mb is not None:
            watch_memory(self._environment.memory_limit_mb, lambda message: end(EXIT_OUT_OF_MEMORY, message))
        shown = self._server.listen()
        threading.Thread(target=self._attend, args=(wake, standard_input), name="http", daemon=True).start()
        model = self._load()
        self._queue.is_ready = True
        say(f"{self._environment.model_name} version {self._environment.model_version} is ready on {shown}")
        self._queue.run(model)
        # The drain is over. The model's own clean-up (atexit) gets a moment.
        timer = threading.Timer(_EXIT_SECONDS, end, (0,))
        timer.daemon = True
        timer.start()

    def _load(self):
        # After the socket is there: numeric libraries take their time.
        from .model import Model

        try:
            model = Model(self._environment.model_dir, self._manifest)
        except LoadError as error:
            if error.__cause__ is not None:
                where = os.path.realpath(self._environment.model_dir)
                print(traceback_text(error.__cause__, where), file=sys.stderr, flush=True)
            raise
        problem = model.warm_up(NoDeadline())
        if problem is not None:
            # Made-up input need not suit every model; the deployment's examples are the real check.
            print(f"warm-up failed, which may be harmless: {problem}", file=sys.stderr, flush=True)
        return model

    def _attend(self, wake, standard_input):
        """Takes connections, and attends to signals and to the end of the parent, also while the model computes."""
        selector = selectors.DefaultSelector()
        selector.register(self._server.listener, selectors.EVENT_READ, "connections")
        selector.register(wake, selectors.EVENT_READ, "signals")
        if standard_input is not None:
            selector.register(standard_input, selectors.EVENT_READ, "parent")
        while True:
            for key, _ in selector.select():
                if key.data == "connections" and not self._was_stopped:
                    self._server.accept()
                elif key.data == "signals" and any(number in _STOPS for number in os.read(wake, 64)):
                    if not self._was_stopped:
                        selector.unregister(self._server.listener)
                    self._stop()
                elif key.data == "parent" and not os.read(standard_input, 4096):
                    self._server.stop_listening()
                    end(0, "the process that started this one has gone")

    def _stop(self):
        if self._was_stopped:
            end(1, "stopped before its calls were finished")
        self._was_stopped = True
        if not self._queue.is_ready:
            self._server.stop_listening()
            end(0, "stopped before it was ready")
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self):
        if not self._server.drain(_DRAIN_SECONDS):
            end(1, "stopped before its calls were finished")
        self._queue.stop()


_STOPS = (signal.SIGTERM, signal.SIGINT)


def _signals():
    """
    A file descriptor that tells of signals. Handlers of Python would wait until the main thread, where the model
    computes, comes back from native code.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in _STOPS:
        signal.signal(number, lambda *_: None)
    # Processes that the model forks end by signals, and must not write of theirs into our pipe.
    os.register_at_fork(after_in_child=_restore_signals)
    return readable


def _restore_signals():
    signal.set_wakeup_fd(-1)
    for number in _STOPS:
        signal.signal(number, signal.SIG_DFL)


def _take_standard_input():
    """The model gets an empty standard input: this one only tells, by its end, that the parent has gone."""
    taken = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return taken


def run(variables):
    # A line is in the log as soon as it is whole, also when the process then crashes.
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    try:
        container = _Container(read_environment(variables))
        container.run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        end(code & 0xFF, f"the model called sys.exit({'' if error.code is None else repr(error.code)})")
    except (ValueError, OSError, LoadError) as error:
        end(1, str(error))
    except BaseException as error:
        traceback.print_exc()
        end(1, f"{type(error).__name__}: {error}")
