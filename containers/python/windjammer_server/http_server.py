# The HTTP side of a model container: paths of the Open Inference Protocol, status codes, drain.
import json
import math
import os
import socket
import stat
import sys
import threading
import time
import traceback
from urllib.parse import quote

from .http_connection import Connection
from .infer_reply import ReplyWriter
from .infer_request import RequestReader
from .manifest import model_metadata, server_metadata
from .model_queue import Call
from .protocol import COMPUTE_US, DEADLINE_MS, HEADER_LENGTH
from .request_error import RequestError, bad_request, quoted
from .tensors import TensorFormatError

# Each connection has a thread; a frontend opens a few, and probes come one at a time.
_MAX_CONNECTIONS = 256


class HttpServer:
    def __init__(self, environment, manifest, queue):
        self._environment = environment
        self._queue = queue
        self._reader = RequestReader(manifest["contract"])
        self._writer = ReplyWriter(environment.model_name, environment.model_version)
        self._routes = self._make_routes(manifest)
        self._listener = None
        self._connections = set()
        self._lock = threading.Lock()
        self._all_closed = threading.Condition(self._lock)
        self._is_draining = False

    def listen(self):
        """Listens, and returns the address for people. Raises OSError naming the address."""
        path, host, port = self._environment.socket_path, self._environment.host, self._environment.port
        shown = path or f"{host}:{port}"
        try:
            self._listener = _unix_listener(path) if path else _tcp_listener(host, port)
        except OSError as error:
            name = f"EADDRINUSE: {error}" if error.errno in (98, 48) else str(error)
            raise OSError(f"cannot listen on {shown}: {name}") from error
        self._listener.setblocking(False)
        return shown if path else "%s:%d" % self._listener.getsockname()[:2]

    @property
    def listener(self):
        return self._listener

    def accept(self):
        """Takes all connections that wait; each is served by a thread."""
        while True:
            try:
                opened, _ = self._listener.accept()
            except OSError:
                return
            if opened.family != socket.AF_UNIX:
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(opened)
            with self._lock:
                is_full = len(self._connections) >= _MAX_CONNECTIONS
                if not is_full:
                    self._connections.add(connection)
            if is_full:
                connection.close()
            else:
                threading.Thread(target=self._serve, args=(connection,), name="connection", daemon=True).start()

    def stop_listening(self):
        """Also removes the socket's file. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        if self._environment.socket_path:
            try:
                os.unlink(self._environment.socket_path)
            except OSError:
                pass
        listener.close()

    def drain(self, seconds):
        """Takes no new connections and answers what has arrived; False when that took longer than `seconds`."""
        self._is_draining = True
        self.accept()
        self.stop_listening()
        with self._lock:
            for connection in self._connections:
                if not connection.is_busy:
                    connection.stop_reading()
            return self._all_closed.wait_for(lambda: not self._connections, seconds)

    def _make_routes(self, manifest):
        name, version = self._environment.model_name, self._environment.model_version
        routes = {
            "/v2": ("GET", lambda: (200, server_metadata())),
            "/v2/": ("GET", lambda: (200, server_metadata())),
            "/v2/health/live": ("GET", lambda: (200, {"live": True})),
            "/v2/health/ready": ("GET", lambda: self._readiness({"ready": self._is_ready})),
        }
        path = f"/v2/models/{_encoded(name)}"
        for prefix in (path, f"{path}/versions/{_encoded(version)}"):
            routes[prefix] = ("GET", lambda: (200, model_metadata(name, version, manifest)))
            routes[f"{prefix}/ready"] = ("GET", lambda: self._readiness({"name": name, "ready": self._is_ready}))
            routes[f"{prefix}/infer"] = ("POST", None)
        return routes

    @property
    def _is_ready(self):
        return self._queue.is_ready and not self._is_draining

    def _readiness(self, body):
        return (200, body) if body["ready"] else (503, {**body, "error": self._why_not_ready()})

    def _why_not_ready(self):
        what = "is shutting down" if self._is_draining else "is still loading"
        return f"model {self._environment.model_name} {what}"

    def _serve(self, connection):
        try:
            while self._serve_one(connection):
                # The drain may have begun behind the reply, and have taken this connection for busy.
                if self._is_draining:
                    connection.stop_reading()
        except (OSError, ValueError):
            # The caller has gone: nobody is left to be told.
            pass
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)
                if not self._connections:
                    self._all_closed.notify_all()

    def _serve_one(self, connection):
        """False when the connection is to be closed."""
        try:
            request = connection.read_request()
        except RequestError as error:
            connection.is_body_read = False
            _send_json(connection, error.status, {"error": str(error)}, True)
            return False
        if request is None:
            return False
        is_last = request.wants_close
        try:
            reply = self._answer(connection, request)
            if reply is None:
                return False
            headers, chunks = reply
            is_last = is_last or self._is_draining
            connection.write(200, headers, chunks, is_last)
        except _Plain as plain:
            is_last = is_last or self._is_draining or connection.has_unread_body(request)
            _send_json(connection, plain.status, plain.body, is_last)
        except RequestError as error:
            # The rest of a body that was refused must not be taken for the next request.
            is_last = is_last or self._is_draining or not connection.is_body_read
            _send_json(connection, error.status, {"error": str(error)}, is_last)
        return not is_last

    def _answer(self, connection, request):
        """Headers and chunks of the reply to an infer call; None when the caller has gone. Raises _Plain, RequestError."""
        connection.is_body_read = request.method == "GET" or not connection.has_unread_body(request)
        method, answer = self._routes.get(request.path, (None, None))
        if method is None:
            raise self._not_found(request.path)
        if method != request.method:
            raise RequestError(405, f"{request.path} takes {method}, got {request.method}")
        if answer is not None:
            raise _Plain(*answer())
        try:
            return self._infer(connection, request)
        except (RequestError, OSError):
            raise
        except TensorFormatError as error:
            raise RequestError(500, str(error)) from None
        except Exception as error:
            print(f"cannot answer a request: {traceback.format_exc()}", file=sys.stderr, flush=True)
            raise RequestError(500, f"{type(error).__name__}: {error}") from None

    def _infer(self, connection, request):
        deadline_ms = _header_number(request, DEADLINE_MS, math.inf)
        ends_at = time.monotonic() + deadline_ms / 1000
        # Calls that arrive while draining are still answered: their sender cannot know yet.
        if not self._queue.is_ready:
            raise RequestError(503, self._why_not_ready())
        body = connection.read_body(request)
        count, inputs, choice = self._reader.read(body, _header_length(request, len(body)))
        call = Call(inputs, count, ends_at)
        self._queue.add(call)
        if not call.wait(connection.has_gone):
            return None
        length, chunks = self._writer.write(choice, call.outputs, call.errors)
        if length is None:
            return f"content-type: application/json\r\n{COMPUTE_US}: {call.compute_us}\r\n", chunks
        headers = (
            f"content-type: application/octet-stream\r\n{COMPUTE_US}: {call.compute_us}\r\n{HEADER_LENGTH}: {length}\r\n"
        )
        return headers, chunks

    def _not_found(self, path):
        parts = path.split("/")
        name = parts[3] if path.startswith("/v2/models/") else ""
        version = parts[5] if len(parts) > 5 and parts[4] == "versions" else None
        own_name, own_version = self._environment.model_name, self._environment.model_version
        is_known = name == _encoded(own_name) and version in (None, _encoded(own_version))
        if name == "" or is_known:
            return RequestError(404, f"unknown path {quoted(path)}")
        asked = quoted(name) if version is None else f"{quoted(name)} version {quoted(version)}"
        served = f"{own_name} version {own_version}"
        return RequestError(404, f"Request for unknown model: {asked} is not served here; this is {served}")


class _Plain(Exception):
    """A reply of plain JSON."""

    def __init__(self, status, body):
        super().__init__()
        self.status = status
        self.body = body


def _send_json(connection, status, body, is_last):
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    connection.write(status, "content-type: application/json\r\n", [text], is_last)


def _encoded(name):
    return quote(name, safe="!'()*~-_.")


def _header_length(request, size):
    length = _header_number(request, HEADER_LENGTH, None)
    if length is None:
        return None
    if length == int(length) and 0 < length <= size:
        return int(length)
    raise bad_request(
        f"{HEADER_LENGTH} is {length:g}, the body has {size} bytes; raw requests are not supported"
    )


def _header_number(request, name, fallback):
    text = request.headers.get(name)
    if text is None:
        return fallback
    whole, _, part = text.partition(".")
    is_number = whole.isascii() and whole.isdigit() and (part == "" or (part.isascii() and part.isdigit()))
    if is_number and len(text) < 300:
        return float(text)
    raise bad_request(f"header {name} is {quoted(text)}, not a number")


def _tcp_listener(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _unix_listener(path):
    # A killed container leaves its socket behind; anything else of that name is not ours to remove.
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Before the model loads there is no other thread that this could concern; nobody else can connect at any moment.
    umask = os.umask(0o117)
    try:
        listener.bind(path)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    return listener
