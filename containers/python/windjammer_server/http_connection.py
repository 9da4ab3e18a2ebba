# One HTTP/1.1 connection: reads requests by length or chunks, writes replies, keeps itself open.
import select
import socket

from .request_error import RequestError

# A frontend keeps its connections to a replica; only one that is long forgotten is closed.
_IDLE_SECONDS = 600
_REQUEST_SECONDS = 300
_MAX_HEADER_BYTES = 64 * 1024
# Largest body of an infer call. The frontend's own limits are far lower; this one keeps the process alive.
_MAX_BODY_BYTES = 2**30
# Up to here one copy costs less than several writes.
_MAX_JOINED_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Request:
    __slots__ = ("method", "path", "headers", "is_http_1_0")

    def __init__(self, method, path, headers, is_http_1_0):
        self.method = method
        self.path = path
        self.headers = headers
        self.is_http_1_0 = is_http_1_0

    @property
    def wants_close(self):
        connection = self.headers.get("connection", "").lower()
        return connection == "close" or (self.is_http_1_0 and connection != "keep-alive")


class Connection:
    def __init__(self, opened):
        self._socket = opened
        self._buffer = bytearray()
        # A request has begun and its reply is not written to the last byte.
        self.is_busy = False
        # The rest of a body that was refused must not be taken for the next request.
        self.is_body_read = True

    def read_request(self):
        """The next request, without its body; None when the connection has ended. Raises RequestError."""
        self._socket.settimeout(_IDLE_SECONDS)
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end != -1:
                break
            if len(self._buffer) > _MAX_HEADER_BYTES:
                raise RequestError(431, f"the request's headers are larger than {_MAX_HEADER_BYTES} bytes")
            if not self._receive():
                return None
            self.is_busy = True
        self.is_busy = True
        head = bytes(self._buffer[:end]).decode("latin-1")
        del self._buffer[: end + 4]
        return _parse_head(head)

    def read_body(self, request):
        """The whole body as a memoryview. Raises RequestError 413, 415, or 400 when the caller goes before its end."""
        self.is_body_read = False
        headers = request.headers
        encoding = headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise RequestError(415, f"content-encoding {encoding} is not supported; send the body as it is")
        self._socket.settimeout(_REQUEST_SECONDS)
        if headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = self._read_chunks()
        else:
            body = self._read_exactly(_length_of(headers.get("content-length", "0")))
        self.is_body_read = True
        return memoryview(body)

    def has_unread_body(self, request):
        return not self.is_body_read or (
            request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        )

    def write(self, status, headers, chunks, is_last):
        """Writes one reply; `headers` is a text of whole lines."""
        size = sum(len(chunk) for chunk in chunks)
        close = "connection: close\r\n" if is_last else ""
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\n{headers}content-length: {size}\r\n{close}\r\n".encode("latin-1")
        if size <= _MAX_JOINED_BYTES:
            self._socket.sendall(b"".join((head, *chunks)))
        else:
            self._socket.sendall(head)
            for chunk in chunks:
                self._socket.sendall(chunk)
        self.is_busy = False

    def has_gone(self):
        """Whether the caller has closed its end."""
        try:
            # A socket with a time-out waits in `recv` whatever the flags say.
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return len(poll.poll(0)) > 0 and self._socket.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def stop_reading(self):
        """What has arrived is still read; then the connection ends."""
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def close(self):
        try:
            # Lets the caller read a reply that was given before its body was read: closing at once would reset it.
            self._socket.shutdown(socket.SHUT_WR)
            if not self.is_body_read:
                self._socket.settimeout(1)
                self._socket.recv(_READ_BYTES)
        except OSError:
            pass
        self._socket.close()

    def _receive(self):
        try:
            data = self._socket.recv(_READ_BYTES)
        except (ConnectionError, socket.timeout):
            return False
        self._buffer += data
        return len(data) > 0

    def _read_exactly(self, length):
        body = bytearray(length)
        start = min(length, len(self._buffer))
        body[:start] = self._buffer[:start]
        del self._buffer[:start]
        with memoryview(body) as view:
            while start < length:
                try:
                    got = self._socket.recv_into(view[start:])
                except (ConnectionError, socket.timeout):
                    got = 0
                if got == 0:
                    raise RequestError(400, "the body ended early")
                start += got
        return body

    def _read_line(self):
        while True:
            end = self._buffer.find(b"\r\n")
            if end != -1:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            if len(self._buffer) > _MAX_HEADER_BYTES or not self._receive():
                raise RequestError(400, "the body ended early")

    def _read_chunks(self):
        body = bytearray()
        while True:
            text = self._read_line().split(b";", 1)[0].strip()
            if not text or any(character not in b"0123456789abcdefABCDEF" for character in text) or len(text) > 15:
                raise RequestError(400, "a chunk of the body has no length")
            length = int(text, 16)
            if length == 0:
                break
            _check_size(len(body) + length)
            body += self._read_exactly(length)
            self._read_line()
        while self._read_line():
            pass
        return body


def _length_of(text):
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RequestError(400, f"content-length {text} is not a number of bytes")
    length = int(text)
    _check_size(length)
    return length


def _check_size(size):
    if size > _MAX_BODY_BYTES:
        raise RequestError(413, f"the body is larger than {_MAX_BODY_BYTES} bytes; send smaller batches")


def _parse_head(head):
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise RequestError(400, "this is not an HTTP/1.1 request")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise RequestError(400, "a header has no colon")
        headers[name.lower()] = value.strip()
    return Request(parts[0], parts[1].split("?", 1)[0], headers, parts[2] == "HTTP/1.0")
