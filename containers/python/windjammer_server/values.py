# Turns the tensors of a batch into what user functions take: a list of values, or whole arrays.
import json
import struct

from .optional_numpy import numpy
from .protocol import RAGGED_TYPES, TYPE_CODES, item_error
from .tensors import Tensor, decode_bytes

# BF16, for which numpy has no type, is widened from its words.
NUMPY_TYPES = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def decode_rows(inputs, count):
    """
    One value a row, and errors by row for those that cannot be decoded. A row is a scalar where its shape is empty,
    else an array (without numpy nested lists); bytes, text or any JSON value where the element is BYTES; a dict by
    input name where there are several inputs.
    """
    errors = {}
    columns = [_decode_column(tensor, errors) for tensor in inputs]
    if len(columns) == 1:
        return columns[0], errors
    names = [tensor.name for tensor in inputs]
    return [dict(zip(names, row)) for row in zip(*columns)], errors


def decode_arrays(inputs):
    """Every tensor as one array with the batch on its first axis, by name, and errors by row."""
    errors = {}
    return {tensor.name: _decode_array(tensor, errors) for tensor in inputs}, errors


def copies(inputs):
    """The same tensors, with data of their own where decoded values are views of it."""
    return [
        Tensor(each.name, each.datatype, each.shape, memoryview(bytearray(each.data)), each.content_type)
        if each.datatype != "BYTES" or each.content_type in RAGGED_TYPES
        else each
        for each in inputs
    ]


def _decode_array(tensor, errors):
    if tensor.datatype != "BYTES":
        return _numeric_array(tensor.data, tensor.datatype).reshape(tensor.shape)
    elements = _bytes_elements(tensor, errors)
    array = numpy.empty(len(elements), dtype=object)
    for index, element in enumerate(elements):
        array[index] = element
    return array.reshape(tensor.shape)


def _decode_column(tensor, errors):
    shape = tensor.shape
    if tensor.datatype == "BYTES":
        elements = _bytes_elements(tensor, errors)
        return elements if len(shape) == 1 else _nested(elements, shape[1:], shape[0])
    if numpy is None:
        return _nested(_numbers(tensor.data, tensor.datatype), shape[1:], shape[0])
    array = _numeric_array(tensor.data, tensor.datatype).reshape(shape)
    return array.tolist() if len(shape) == 1 else list(array)


def _bytes_elements(tensor, errors):
    """All elements of a BYTES tensor, decoded."""
    count, row_size = 1, 1
    for axis, size in enumerate(tensor.shape):
        count *= size
        row_size *= size if axis > 0 else 1
    elements = decode_bytes(tensor.data, count)
    kind = tensor.content_type
    if kind == "json":
        return [_json_value(tensor, element, index // row_size, errors) for index, element in enumerate(elements)]
    if kind in RAGGED_TYPES:
        decode = _numbers if numpy is None else _numeric_array
        return [decode(element, RAGGED_TYPES[kind]) for element in elements]
    if kind == "str":
        return [str(element, "utf-8", "replace") for element in elements]
    return [bytes(element) for element in elements]


def _json_value(tensor, element, row, errors):
    try:
        return json.loads(bytes(element))
    except (ValueError, RecursionError) as error:
        errors[row] = item_error("MODEL_ERROR", f'input "{tensor.name}" is not JSON: {error}')
        return None


def _numeric_array(data, datatype):
    array = numpy.frombuffer(data, dtype=NUMPY_TYPES[datatype])
    # A BF16 is the upper half of an FP32.
    return (array.astype("<u4") << 16).view("<f4") if datatype == "BF16" else array


def _numbers(data, datatype):
    if datatype == "FP16":
        return list(struct.unpack(f"<{len(data) // 2}e", data))
    numbers = data.cast(TYPE_CODES[datatype]).tolist()
    if datatype == "BF16":
        return [struct.unpack("<f", struct.pack("<I", word << 16))[0] for word in numbers]
    return [number != 0 for number in numbers] if datatype == "BOOL" else numbers


def _nested(flat, row_shape, count):
    """`count` rows, nested by `row_shape`."""
    for size in reversed(row_shape):
        whole = len(flat) // size if size > 0 else 0
        flat = [flat[index * size : (index + 1) * size] for index in range(whole)]
    return flat if flat or count == 0 else [[] for _ in range(count)]
