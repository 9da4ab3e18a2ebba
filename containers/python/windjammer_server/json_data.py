# Tensor data as JSON (`data` of the Open Inference Protocol) to packed bytes and back.
import json
from array import array
from math import inf, isfinite, nan

from .protocol import RAGGED_TYPES, TYPE_CODES
from .tensors import TensorFormatError, decode_bytes, encode_bytes

# Least and greatest element.
_BOUNDS = {
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1),
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
}
# Names in quotes, and null, stand for what JSON has no numbers for: other servers' clients send them.
_NAMED = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}
_LARGEST_FP32 = 3.4028234663852886e38
# Deeper nesting than any tensor has.
_MAX_DEPTH = 64


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def parse_json(data):
    """Raises ValueError, or RecursionError where it is nested too deeply."""
    return json.loads(str(data, "utf-8", "replace"), parse_constant=_refuse_constant)


def pack_json(data, datatype, count, ragged_type=None):
    """Packs nested or flat `data`; with `ragged_type`, a list of number lists. Raises TensorFormatError."""
    if not isinstance(data, list):
        raise TensorFormatError(f'"data" must be a list, got {_kind_of(data)}')
    if ragged_type is not None:
        _check_count(len(data), count)
        return encode_bytes([_ragged_row(row, ragged_type) for row in data])
    flat = _flatten(data)
    _check_count(len(flat), count)
    if datatype == "BYTES":
        return encode_bytes([_utf8(element) for element in flat])
    return _pack_numbers(flat, datatype)


def _ragged_row(row, datatype):
    if not isinstance(row, list):
        raise TensorFormatError(f"a row must be a list of numbers, got {_kind_of(row)}")
    return _pack_numbers(row, datatype)


def _pack_numbers(values, datatype):
    _refuse_half(datatype, "send it")
    convert = _CONVERSIONS.get(datatype, _integer)
    elements = []
    for index, value in enumerate(values):
        element = convert(value, datatype)
        if element is None:
            shown = json.dumps(value, ensure_ascii=False)
            shown = shown if len(shown) <= 40 else shown[:40] + "…"
            raise TensorFormatError(f"element {index} is {shown}, which is not {datatype}")
        elements.append(element)
    return array(TYPE_CODES[datatype], elements).tobytes()


def _refuse_half(datatype, what):
    if datatype in ("FP16", "BF16"):
        raise TensorFormatError(f"JSON cannot hold {datatype}; {what} as binary tensor data")


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _floating(value, datatype):
    if value is None:
        return nan
    if isinstance(value, str):
        return _NAMED.get(value)
    if not _is_number(value):
        return None
    try:
        number = float(value)
    except OverflowError:
        number = inf if value > 0 else -inf
    if datatype == "FP32" and abs(number) > _LARGEST_FP32:
        return inf if number > 0 else -inf
    return number


def _boolean(value, _datatype):
    if value is True or (_is_number(value) and value == 1):
        return 1
    return 0 if value is False or (_is_number(value) and value == 0) else None


def _integer(value, datatype):
    if not _is_number(value) or not isfinite(value) or value != int(value):
        return None
    least, most = _BOUNDS[datatype]
    return int(value) if least <= value <= most else None


_CONVERSIONS = {"FP32": _floating, "FP64": _floating, "BOOL": _boolean}


def _utf8(value):
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    raise TensorFormatError(f"BYTES elements are strings in JSON, got {_kind_of(value)}")


def _flatten(data):
    flat = data
    for _ in range(_MAX_DEPTH):
        if not any(isinstance(element, list) for element in flat):
            break
        flat = [inner for element in flat for inner in (element if isinstance(element, list) else [element])]
    return flat


def _check_count(got, expected):
    if got != expected:
        raise TensorFormatError(f'the shape takes {expected} elements, "data" has {got}')


def json_text(tensor):
    """
    JSON text of a tensor's `data`, a flat list: integers keep all digits, what is not finite becomes null, ragged rows
    are lists of numbers. Raises TensorFormatError for FP16 and BF16.
    """
    if tensor.datatype != "BYTES":
        return _numbers_text(tensor.data, tensor.datatype)
    count = 1
    for size in tensor.shape:
        count *= size
    ragged_type = RAGGED_TYPES.get(tensor.content_type or "")
    texts = [
        json.dumps(str(element, "utf-8", "replace"), ensure_ascii=False)
        if ragged_type is None
        else _numbers_text(element, ragged_type)
        for element in decode_bytes(memoryview(tensor.data), count)
    ]
    return f"[{','.join(texts)}]"


def _numbers_text(data, datatype):
    _refuse_half(datatype, "ask for it")
    elements = memoryview(data).cast("B").cast(TYPE_CODES[datatype]).tolist()
    if datatype == "BOOL":
        elements = [element != 0 for element in elements]
    elif datatype in ("FP32", "FP64"):
        elements = [element if isfinite(element) else None for element in elements]
    return json.dumps(elements, separators=(",", ":"))


def _kind_of(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "string", list: "a list", dict: "object"}.get(type(value), type(value).__name__)
