# A model server of the Open Inference Protocol with nothing but Python's standard library. The model is in model.py.
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import model as user

NAME = os.environ.get("WINDJAMMER_MODEL_NAME", "model")
VERSION = os.environ.get("WINDJAMMER_MODEL_VERSION", "1")
MODEL_PATHS = ("/v2/models/%s" % NAME, "/v2/models/%s/versions/%s" % (NAME, VERSION))
MAX_BODY = 1 << 30
# struct's letter for a number of each type; BYTES elements carry their own length.
LETTERS = {
    "BOOL": "?", "UINT8": "B", "INT8": "b", "UINT16": "H", "INT16": "h", "UINT32": "I", "INT32": "i",
    "UINT64": "Q", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}


class Refusal(Exception):
    """The request is wrong; the text says where, what was expected and what came."""


def count_of(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def unpack(datatype, data):
    if datatype != "BYTES":
        letter = LETTERS[datatype]
        return list(struct.unpack("<%d%s" % (len(data) // struct.calcsize(letter), letter), data))
    elements, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        elements.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return elements


def pack(datatype, values):
    if datatype != "BYTES":
        return struct.pack("<%d%s" % (len(values), LETTERS[datatype]), *values)
    return b"".join(struct.pack("<I", len(text)) + text for text in (value.encode() for value in values))


def flatten(data):
    return [inner for value in data for inner in flatten(value)] if isinstance(data, list) else [data]


def nest(values, shape):
    """A flat list as rows: nested lists, as the shape says."""
    if len(shape) <= 1:
        return values[0] if not shape else values
    size = count_of(shape[1:])
    return [nest(values[row * size : (row + 1) * size], shape[1:]) for row in range(shape[0])]


def read_input(spec, tensor, binary):
    """The rows of one input. `binary` is what follows the JSON of the body, from this tensor on."""
    name, shape = spec["name"], tensor.get("shape")
    if tensor.get("datatype") != spec["datatype"]:
        raise Refusal("input %s: expected %s, got %s" % (name, spec["datatype"], tensor.get("datatype")))
    wanted = [-1] + spec["shape"]
    if not isinstance(shape, list) or len(shape) != len(wanted) or not all(
        isinstance(size, int) and size >= 0 and expected in (-1, size) for size, expected in zip(shape, wanted)
    ):
        raise Refusal("input %s: expected shape %s, got %s" % (name, wanted, shape))
    size = (tensor.get("parameters") or {}).get("binary_data_size")
    try:
        values = flatten(tensor["data"]) if size is None else unpack(spec["datatype"], binary[:size])
        pack(spec["datatype"], values)
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise Refusal("input %s: no %s data: %s" % (name, spec["datatype"], error))
    if len(values) != count_of(shape):
        raise Refusal("input %s: shape %s takes %d elements, got %d" % (name, shape, count_of(shape), len(values)))
    return nest(values, shape), shape[0], size or 0


def infer(body, header_length):
    is_binary = header_length is not None
    try:
        request = json.loads(body[:header_length] if is_binary else body)
        tensors = {tensor["name"]: tensor for tensor in request["inputs"]}
        order = [tensor["name"] for tensor in request["inputs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal("the body is no inference request: %s" % error)
    specs = {spec["name"]: spec for spec in user.INPUTS}
    if set(order) != set(specs):
        raise Refusal("expected the inputs %s, got %s" % (sorted(specs), sorted(order)))
    binary, inputs, counts = body[header_length:] if is_binary else b"", {}, set()
    for name in order:
        rows, count, used = read_input(specs[name], tensors[name], binary)
        inputs[name], binary = rows, binary[used:]
        counts.add(count)
    if binary or len(counts) != 1:
        raise Refusal("bytes are left over" if binary else "inputs have batches of different sizes")
    (count,) = counts
    with PREDICTING:
        answers = user.predict(MODEL, inputs)
    return reply(answers, count, is_binary)


def reply(answers, count, is_binary):
    outputs, tail = [], b""
    for spec in user.OUTPUTS:
        rows = answers[spec["name"]]
        if len(rows) != count:
            raise RuntimeError("output %s has %d rows for %d inputs" % (spec["name"], len(rows), count))
        values, shape, level = flatten(list(rows)), [count], rows[0] if rows else []
        for _ in spec["shape"]:
            shape.append(len(level))
            level = level[0] if level else []
        output = {"name": spec["name"], "datatype": spec["datatype"], "shape": shape}
        if is_binary:
            data = pack(spec["datatype"], values)
            output["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            output["data"] = values
        outputs.append(output)
    header = json.dumps({"model_name": NAME, "model_version": VERSION, "outputs": outputs}).encode()
    return header + tail, {"inference-header-content-length": str(len(header))} if is_binary else {}


def metadata():
    def batched(specs):
        return [dict(spec, shape=[-1] + spec["shape"]) for spec in specs]

    return {"name": NAME, "versions": [VERSION], "platform": "python",
            "inputs": batched(user.INPUTS), "outputs": batched(user.OUTPUTS)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    wbufsize = -1  # one packet an answer

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers={}):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/octet-stream" if headers else "application/json")
        self.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def do_GET(self):
        is_ready = MODEL is not None and not STOPPING.is_set()
        if self.path in ("/v2", "/v2/"):
            self.answer(200, {"name": "python-template", "version": "1", "extensions": ["binary_tensor_data"]})
        elif self.path == "/v2/health/live":
            self.answer(200, {"live": True})
        elif self.path == "/v2/health/ready":
            self.answer(200 if is_ready else 503, {"ready": is_ready})
        elif self.path in MODEL_PATHS:
            self.answer(200, metadata())
        elif self.path in [path + "/ready" for path in MODEL_PATHS]:
            self.answer(200 if is_ready else 503, {"name": NAME, "ready": is_ready})
        else:
            self.answer(404, {"error": "unknown path, or Request for unknown model: %s" % self.path})

    def do_POST(self):
        with BUSY:
            RUNNING.append(self)
        try:
            self.post()
        finally:
            with BUSY:
                RUNNING.remove(self)

    def post(self):
        length = self.headers.get("content-length")
        header_length = self.headers.get("inference-header-content-length")
        if length is None or int(length) > MAX_BODY:
            self.close_connection = True
            return self.answer(413, {"error": "expected a content-length of at most %d bytes" % MAX_BODY})
        body = self.rfile.read(int(length))
        if self.path not in [path + "/infer" for path in MODEL_PATHS]:
            return self.answer(404, {"error": "Request for unknown model: %s" % self.path})
        try:
            content, headers = infer(body, None if header_length is None else int(header_length))
            self.answer(200, content, headers)
        except Refusal as refusal:
            self.answer(400, {"error": str(refusal)})
        except Exception as error:
            self.answer(500, {"error": "%s: %s" % (type(error).__name__, error)})


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # of the standard library's 5, several connections at once are refused


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def server_bind(self):
        if os.path.exists(self.server_address):
            os.unlink(self.server_address)
        self.socket.bind(self.server_address)
        os.chmod(self.server_address, 0o660)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("local", 0)


def stop(*_):
    """All calls that have arrived are answered first."""
    if STOPPING.is_set():
        os._exit(1)
    STOPPING.set()


def main():
    global MODEL
    path = os.environ.get("WINDJAMMER_SOCKET")
    address = (os.environ.get("WINDJAMMER_HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))
    server = UnixServer(path, Handler) if path else Server(address, Handler)
    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    MODEL = user.load(os.path.dirname(os.path.abspath(__file__)))
    print("ready on %s" % (path or "port %d" % server.server_address[1]), flush=True)
    # A signal may reach another thread, and wakes this one from no wait without an end.
    while not STOPPING.wait(1):
        pass
    server.shutdown()
    for _ in range(3000):
        if not RUNNING:
            break
        time.sleep(0.01)
    os._exit(0)


MODEL, RUNNING = None, []
BUSY, PREDICTING, STOPPING = threading.Lock(), threading.Lock(), threading.Event()

if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        print("cannot start: %s" % error, file=sys.stderr, flush=True)
        os._exit(1)
