# Turns what user functions return into outputs: JSON, one element a row, or arrays of the contract's types.
import json
from math import isfinite

from .optional_numpy import numpy
from .protocol import item_error
from .tensors import Tensor, empty_tensor, encode_bytes
from .values import NUMPY_TYPES


class InvalidOutputError(Exception):
    """What a model returned cannot be an answer; `str(error)` says why."""


class WrongCountError(InvalidOutputError):
    """It returned another number of outputs than inputs."""


def describe(value):
    if value is None:
        return "None"
    if isinstance(value, (bool, int, float, str)):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 80 else text[:80] + "…"
    shape = getattr(value, "shape", None)
    where = f" of shape {list(shape)}" if isinstance(shape, tuple) else ""
    return f"an object ({type(value).__name__}{where})"


def _wrong_count(name, value, got, count):
    inputs = f"{count} {'input' if count == 1 else 'inputs'}"
    if got is None:
        return WrongCountError(
            f"{name} returned {describe(value)} for a list of {inputs}; return a list with one output per input"
        )
    outputs = f"{got} {'output' if got == 1 else 'outputs'}"
    return WrongCountError(f"{name} returned {outputs} for {inputs}; return one output per input")


class JsonOutputs:
    """Outputs of a model whose contract has one output of JSON."""

    def __init__(self, specs, name):
        self._spec = specs[0]
        self._name = name

    def split(self, returned, count):
        """One value a row of what a call returned. Raises WrongCountError."""
        values = _list_of(returned)
        if values is None or len(values) != count:
            raise _wrong_count(self._name, returned, None if values is None else len(values), count)
        return values

    def join(self, values, errors, count):
        """The output tensors; what a row returned and cannot be written becomes its error."""
        elements = []
        for row in range(count):
            element = b""
            if errors.get(row) is None:
                try:
                    element = _json_bytes(values[row])
                except Exception as error:
                    # Also what objects of the model raise when they are read.
                    message = f"{self._name} returned an output that cannot be written as JSON: {error}"
                    errors[row] = item_error("INVALID_MODEL_OUTPUT", message)
            elements.append(element)
        spec = self._spec
        return [Tensor(spec["name"], "BYTES", [count], encode_bytes(elements), spec.get("contentType"))]


def _list_of(value):
    if isinstance(value, (list, tuple)):
        return value
    # Arrays, tensors and series of every library.
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        listed = to_list()
        return listed if isinstance(listed, list) else None
    return None


def _json_bytes(value):
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError as error:
        if "Out of range float" not in str(error):
            raise
        plain = json.loads(json.dumps(value, default=_plain))
        text = json.dumps(_without_nan(plain), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8")


def _plain(value):
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        return to_list()
    raise TypeError(f"{type(value).__name__} is not JSON; return numbers, texts, lists, dicts or arrays")


def _without_nan(value):
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    return value


class ArrayRows(list):
    """Rows of one call, with the arrays that they are cut from."""

    def __init__(self, arrays):
        super().__init__(zip(*arrays))
        self.arrays = arrays


class ArrayOutputs:
    """Outputs of a model whose contract declares tensors."""

    def __init__(self, specs, name):
        self._specs = specs
        self._name = name

    def split(self, returned, count):
        """
        One tuple of outputs a row. Raises WrongCountError, and InvalidOutputError where an array does not fit the
        contract.
        """
        arrays = []
        for spec, value in zip(self._specs, self._by_name(returned)):
            array = _as_array(value, spec, self._name)
            got = array.shape[0] if array.ndim > 0 else None
            if got != count:
                raise _wrong_count(self._name, value, got, count)
            _check_shape(array, spec, self._name)
            arrays.append(array)
        return ArrayRows(arrays)

    def _by_name(self, returned):
        names = [spec["name"] for spec in self._specs]
        if isinstance(returned, dict):
            missing = [name for name in names if name not in returned]
            if missing:
                raise InvalidOutputError(f'{self._name} returned a dict without the output "{missing[0]}"')
            return [returned[name] for name in names]
        if len(names) == 1:
            return [returned]
        if isinstance(returned, tuple) and len(returned) == len(names):
            return returned
        raise InvalidOutputError(
            f"{self._name} returned {describe(returned)}; return a dict with the outputs {', '.join(names)}"
        )

    def join(self, values, errors, count):
        """The output tensors; rows with errors hold zeros or empty elements."""
        if isinstance(values, ArrayRows):
            return [_tensor(spec, array) for spec, array in zip(self._specs, values.arrays)]
        good = [row for row in range(count) if errors.get(row) is None]
        if not good:
            return [empty_tensor(spec, count) for spec in self._specs]
        self._refuse_other_shapes(values, errors, good)
        tensors = []
        for index, spec in enumerate(self._specs):
            first = values[good[0]][index]
            array = numpy.zeros((count, *first.shape), dtype=first.dtype)
            if first.dtype == object:
                array.fill(b"")
            for row in good:
                if errors.get(row) is None:
                    array[row] = values[row][index]
            tensors.append(_tensor(spec, array))
        return tensors

    def _refuse_other_shapes(self, values, errors, good):
        shapes = [part.shape for part in values[good[0]]]
        for row in good:
            if [part.shape for part in values[row]] != shapes:
                message = f"{self._name} returned an output of another shape than for the other inputs of the batch"
                errors[row] = item_error("INVALID_MODEL_OUTPUT", message)


def _as_array(value, spec, name):
    """An array of the output's type; of bytes objects for BYTES."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    # numpy has no such type; libraries bring theirs.
    kind = str(getattr(value, "dtype", ""))
    if kind == "torch.bfloat16":
        value = value.float()
    elif kind == "bfloat16":
        value = numpy.asarray(value).astype("<f4")
    datatype = spec["datatype"]
    if datatype == "BYTES":
        return _array_of_bytes(value, spec, name)
    try:
        array = numpy.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidOutputError(f'{name}: output "{spec["name"]}" is no array of numbers: {error}') from None
    target = numpy.dtype("<f4" if datatype == "BF16" else NUMPY_TYPES[datatype])
    if array.dtype.kind not in {"f": "fiub", "i": "iub", "u": "iub", "b": "b"}[target.kind]:
        raise InvalidOutputError(
            f'{name}: output "{spec["name"]}" is declared as {datatype}, got an array of {array.dtype}'
        )
    converted = array.astype(target, copy=False)
    if target.kind in "iu" and array.dtype != target and not (converted == array).all():
        raise InvalidOutputError(f'{name}: output "{spec["name"]}" has numbers beyond {datatype}')
    return converted


def _array_of_bytes(value, spec, name):
    if spec.get("contentType") == "json" and not spec["shape"] and isinstance(value, (list, tuple)):
        # Lists in it are elements, not further axes.
        elements, shape = value, (len(value),)
    else:
        source = value if isinstance(value, numpy.ndarray) else numpy.array(value, dtype=object)
        elements, shape = source.reshape(-1), source.shape
    array = numpy.empty(len(elements), dtype=object)
    for index, element in enumerate(elements):
        array[index] = _element_bytes(element, spec, name)
    return array.reshape(shape)


def _element_bytes(element, spec, name):
    if spec.get("contentType") == "json":
        return _json_bytes(element)
    if isinstance(element, str):
        return element.encode("utf-8", "replace")
    if isinstance(element, (bytes, bytearray)):
        return bytes(element)
    raise InvalidOutputError(f'{name}: output "{spec["name"]}" holds {describe(element)}, which is neither str nor bytes')


def _check_shape(array, spec, name):
    row, got = spec["shape"], list(array.shape[1:])
    if len(row) != len(got) or any(size not in (-1, real) for size, real in zip(row, got)):
        raise InvalidOutputError(
            f'{name}: output "{spec["name"]}" is declared with rows of shape {row}, got {got}'
        )


def _tensor(spec, array):
    datatype, shape = spec["datatype"], list(array.shape)
    if datatype == "BYTES":
        data = encode_bytes(array.reshape(-1).tolist())
    elif datatype == "BF16":
        data = _rounded_halves(array)
    else:
        data = numpy.ascontiguousarray(array).tobytes()
    return Tensor(spec["name"], datatype, shape, data, spec.get("contentType"))


def _rounded_halves(array):
    """Upper halves of FP32, rounded to nearest, ties to even; NaN stays NaN."""
    words = numpy.ascontiguousarray(array).view("<u4")
    rounded = (words + (0x7FFF + ((words >> 16) & 1)).astype("<u4")) >> 16
    return numpy.where(numpy.isnan(array), (words >> 16) | 0x40, rounded).astype("<u2").tobytes()
