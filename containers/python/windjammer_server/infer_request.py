# Reads the body of an infer call: checks it against the contract and cuts it into the batch's tensors.
from math import prod
from typing import Any, NamedTuple, Optional

from .json_data import pack_json, parse_json
from .protocol import DATATYPE_BYTES, RAGGED_TYPES
from .reply_choice import ReplyChoice, make_reply_choice
from .request_error import as_list, as_object, bad_request, parameters_of, quoted
from .tensors import Tensor, TensorFormatError, decode_bytes

_MAX_CACHED_HEADERS = 256
_MAX_CACHED_HEADER_BYTES = 8192
_MAX_SAFE_INTEGER = 2**53 - 1


class InferRequest(NamedTuple):
    count: int
    # In the order of the contract; views of the body where they came in binary.
    inputs: list
    reply: ReplyChoice


class _Entry(NamedTuple):
    name: str
    datatype: str
    shape: list
    content_type: Optional[str]
    ragged_type: Optional[str]
    # Bytes of a binary tensor and where they begin behind the header; None: `data` holds JSON.
    size: Optional[int]
    offset: int
    data: Any


class _Plan(NamedTuple):
    count: int
    entries: list
    # Bytes behind the header.
    size: int
    reply: ReplyChoice


class RequestReader:
    """Reads requests for one contract."""

    def __init__(self, contract):
        self._contract = contract
        # Header bytes → what they say. A header is a function of the batch size, so there are few of them.
        self._plans = {}

    def read(self, body, header_length):
        """
        `body` is a memoryview; `header_length` is of the JSON in front of the tensors, None where all of it is JSON.
        Raises RequestError (400) saying what is wrong with it.
        """
        try:
            return self._read(body, header_length)
        except RecursionError:
            raise bad_request("the request is nested too deeply") from None

    def _read(self, body, header_length):
        length = len(body) if header_length is None else header_length
        plan = self._plan(body[:length], header_length is not None)
        if length + plan.size != len(body):
            raise bad_request(
                f"the tensors take {plan.size} bytes behind the header, the body has {len(body) - length}"
            )
        inputs = [_cut(entry, body, length) for entry in plan.entries]
        return InferRequest(plan.count, inputs, plan.reply)

    def _plan(self, header, is_binary):
        key = bytes(header) if is_binary and len(header) <= _MAX_CACHED_HEADER_BYTES else None
        known = self._plans.get(key) if key is not None else None
        if known is not None:
            return known
        try:
            request = parse_json(header)
        except ValueError as error:
            raise bad_request(f"the request is not valid JSON: {error}") from None
        plan = _make_plan(as_object(request, "the request"), self._contract, is_binary)
        if key is not None and plan.reply.id is None and all(entry.size is not None for entry in plan.entries):
            if len(self._plans) >= _MAX_CACHED_HEADERS:
                self._plans.clear()
            self._plans[key] = plan
        return plan


def _cut(entry, body, header_length):
    try:
        if entry.size is None:
            data = memoryview(pack_json(entry.data, entry.datatype, prod(entry.shape), entry.ragged_type))
        else:
            start = header_length + entry.offset
            data = body[start : start + entry.size]
            if entry.datatype == "BYTES":
                _check_elements(entry, data)
    except TensorFormatError as error:
        raise bad_request(f"input {quoted(entry.name)}: {error}") from None
    return Tensor(entry.name, entry.datatype, entry.shape, data, entry.content_type)


def _check_elements(entry, data):
    width = 1 if entry.ragged_type is None else DATATYPE_BYTES[entry.ragged_type]
    for element in decode_bytes(data, prod(entry.shape)):
        if len(element) % width != 0:
            raise TensorFormatError(
                f"a row of {len(element)} bytes cannot hold {entry.content_type} numbers"
            )


def _make_plan(request, contract, is_binary):
    entries = {}
    size = 0
    for listed in as_list(request.get("inputs"), '"inputs"'):
        entry = _make_entry(as_object(listed, "an input"), contract, size)
        if entry.name in entries:
            raise bad_request(f"input {quoted(entry.name)} is given twice")
        entries[entry.name] = entry
        size += entry.size or 0
    ordered = []
    for spec in contract["inputs"]:
        if spec["name"] not in entries:
            raise bad_request(f"input {quoted(spec['name'])} is missing")
        ordered.append(entries[spec["name"]])
    count = _batch_size(ordered, contract)
    return _Plan(count, ordered, size, make_reply_choice(request, contract, is_binary))


def _batch_size(entries, contract):
    first = entries[0]
    count = first.shape[0]
    for other in entries:
        if other.shape[0] != count:
            raise bad_request(
                f"input {quoted(other.name)} has {other.shape[0]} rows, input {quoted(first.name)} has {count}"
            )
    if count == 0:
        raise bad_request("the batch is empty")
    most = contract.get("maxBatchSize")
    if most is not None and count > most:
        raise bad_request(f"the batch has {count} rows; this model takes {most} at most")
    return count


def _make_entry(fields, contract, offset):
    name = fields.get("name")
    spec = next((known for known in contract["inputs"] if known["name"] == name), None)
    if spec is None:
        names = ", ".join(quoted(known["name"]) for known in contract["inputs"])
        raise bad_request(f"unknown input {quoted(name)}; the inputs are {names}")
    parameters = parameters_of(fields)
    datatype, shape, content_type, ragged_type = _match_spec(fields, parameters, spec)
    size = parameters.get("binary_data_size")
    if ("binary_data_size" in parameters) == ("data" in fields):
        raise bad_request(f'input {quoted(name)} must have either "data" or parameters.binary_data_size')
    if "data" in fields:
        return _Entry(name, datatype, shape, content_type, ragged_type, None, offset, fields["data"])
    if not _is_size(size):
        raise bad_request(f"input {quoted(name)}: binary_data_size {quoted(size)} is not a number of bytes")
    expected = prod(shape) * DATATYPE_BYTES[datatype]
    if datatype != "BYTES" and expected != size:
        raise bad_request(
            f"input {quoted(name)}: {datatype} {_shown(shape)} takes {expected} bytes, binary_data_size is {size}"
        )
    return _Entry(name, datatype, shape, content_type, ragged_type, size, offset, None)


def _match_spec(fields, parameters, spec):
    """Datatype, shape, content type and type of ragged rows of an input, checked against the contract."""
    name = spec["name"]
    datatype, shape, given = fields.get("datatype"), fields.get("shape"), parameters.get("content_type")
    if not _is_shape(shape):
        raise bad_request(f"input {quoted(name)}: shape {quoted(shape)} is not a shape")
    if spec.get("isRagged") and datatype == "BYTES":
        return _ragged_rows(spec, shape, given)
    if datatype != spec["datatype"]:
        raise bad_request(f"input {quoted(name)} takes {spec['datatype']}, got {quoted(datatype)}")
    content_type = spec.get("contentType")
    if given is not None and given != content_type:
        raise bad_request(
            f"input {quoted(name)} has content type {quoted(content_type or 'none')}, got {quoted(given)}"
        )
    row = spec["shape"]
    if len(shape) != len(row) + 1 or any(size not in (-1, got) for size, got in zip(row, shape[1:])):
        raise bad_request(f"input {quoted(name)} takes shape {_shown([-1, *row])}, got {_shown(shape)}")
    return datatype, shape, content_type, None


def _ragged_rows(spec, shape, given):
    content_type = next((name for name, each in RAGGED_TYPES.items() if each == spec["datatype"]), None)
    if content_type is not None and given == content_type and len(shape) == 1:
        return "BYTES", shape, content_type, RAGGED_TYPES[content_type]
    raise bad_request(
        f"input {quoted(spec['name'])}: rows of different lengths are BYTES [n] with content_type {quoted(content_type)}"
    )


def _is_size(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_SAFE_INTEGER


def _is_shape(value):
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(_is_size(size) for size in value)
        and prod(value) <= _MAX_SAFE_INTEGER
    )


def _shown(shape):
    return f"[{','.join(str(size) for size in shape)}]"
