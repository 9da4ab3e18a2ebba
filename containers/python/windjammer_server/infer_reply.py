# Writes the body of an infer reply: JSON header, then binary tensors, errors of single rows in the error tensor.
import json

from .json_data import json_text
from .protocol import ERROR_TENSOR
from .tensors import Tensor, encode_bytes

_MAX_CACHED_HEADERS = 256


def _dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class ReplyWriter:
    """Writes replies of one model version."""

    def __init__(self, name, version):
        self._name = name
        self._version = version
        # Choice and shapes → header bytes, for replies whose header is a function of the batch size.
        self._headers = {}

    def write(self, choice, outputs, errors):
        """
        Bytes of JSON in front of the tensors (None: all of it is JSON) and the chunks of the body. Raises
        TensorFormatError when an output cannot be told in JSON.
        """
        tensors = [(outputs[index], is_binary) for index, is_binary in choice.outputs]
        if errors is not None and any(error is not None for error in errors):
            tensors.append((_error_tensor(errors), choice.is_binary))
        key = _cache_key(choice, tensors)
        header = self._headers.get(key) if key is not None else None
        if header is None:
            header = self._header(choice, tensors)
            if key is not None:
                if len(self._headers) >= _MAX_CACHED_HEADERS:
                    self._headers.clear()
                self._headers[key] = header
        chunks = [tensor.data for tensor, is_binary in tensors if is_binary]
        return (len(header) if chunks else None), [header, *chunks]

    def _header(self, choice, tensors):
        start = {"model_name": self._name, "model_version": self._version}
        if choice.id is not None:
            start["id"] = choice.id
        described = ",".join(_described(tensor, is_binary) for tensor, is_binary in tensors)
        text = f'{_dumps(start)[:-1]},"outputs":[{described}]}}'.encode("utf-8", "replace")
        # Padded, so that the tensors behind it can be viewed as typed arrays without a copy.
        return text + b" " * (-len(text) % 8)


def _described(tensor, is_binary):
    fields = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    parameters = {}
    if tensor.content_type is not None:
        parameters["content_type"] = tensor.content_type
    if is_binary:
        parameters["binary_data_size"] = memoryview(tensor.data).nbytes
    if parameters:
        fields["parameters"] = parameters
    return _dumps(fields) if is_binary else f'{_dumps(fields)[:-1]},"data":{json_text(tensor)}}}'


def _cache_key(choice, tensors):
    """Sizes of BYTES outputs differ from call to call, so their headers would only fill the cache."""
    if choice.id is not None:
        return None
    if any(not is_binary or tensor.datatype == "BYTES" for tensor, is_binary in tensors):
        return None
    return choice.outputs, tuple(tuple(tensor.shape) for tensor, _ in tensors)


def _error_tensor(errors):
    elements = [b"" if error is None else _dumps(error).encode("utf-8", "replace") for error in errors]
    return Tensor(ERROR_TENSOR, "BYTES", [len(errors)], encode_bytes(elements), "error")
