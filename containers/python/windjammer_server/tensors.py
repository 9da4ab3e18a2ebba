# Tensors as they travel: packed little-endian bytes with name, datatype and shape; elements of BYTES.
import struct
from math import prod

from .protocol import DATATYPE_BYTES

_LENGTH = struct.Struct("<I")


class TensorFormatError(Exception):
    """Says what is wrong with a tensor's data; callers turn it into their own error."""


class Tensor:
    """`data` is packed, little-endian, row-major; a BYTES element is its length as uint32 and its bytes."""

    __slots__ = ("name", "datatype", "shape", "data", "content_type")

    def __init__(self, name, datatype, shape, data, content_type=None):
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self.data = data
        self.content_type = content_type


def encode_bytes(elements):
    """Packs elements of a BYTES tensor."""
    parts = []
    for element in elements:
        parts.append(_LENGTH.pack(len(element)))
        parts.append(element)
    return b"".join(parts)


def decode_bytes(data, count):
    """Views of the elements of a BYTES tensor; raises TensorFormatError when there are not exactly `count`."""
    elements = []
    offset, size = 0, len(data)
    while offset < size:
        # A body of zeros would else make millions of empty elements before anybody counts them.
        if len(elements) == count:
            raise TensorFormatError(f"expected {count} BYTES elements, got more")
        if offset + 4 > size:
            raise TensorFormatError("a BYTES element is cut off")
        end = offset + 4 + _LENGTH.unpack_from(data, offset)[0]
        if end > size:
            raise TensorFormatError("a BYTES element is cut off")
        elements.append(data[offset + 4 : end])
        offset = end
    if len(elements) != count:
        raise TensorFormatError(f"expected {count} BYTES elements, got {len(elements)}")
    return elements


def empty_tensor(spec, count):
    """`count` rows of zeros or empty elements, free dimensions 0: what stands for an output that no row has."""
    shape = [count] + [max(size, 0) for size in spec["shape"]]
    # An empty BYTES element is its length alone: four zero bytes.
    width = DATATYPE_BYTES[spec["datatype"]] or 4
    return Tensor(spec["name"], spec["datatype"], shape, bytes(prod(shape) * width), spec.get("contentType"))
