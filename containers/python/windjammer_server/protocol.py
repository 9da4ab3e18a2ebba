# What frontend and model container agree on, as in containers/protocol.ts: names on the wire, datatypes, exit codes.

# Bytes per element; BYTES elements carry their own length (uint32, little-endian) instead.
DATATYPE_BYTES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 0,
}

# Element types of ragged rows, by their content type.
RAGGED_TYPES = {"int32": "INT32", "fp32": "FP32", "fp64": "FP64"}

# Format characters of `memoryview.cast`. BOOL elements are bytes; FP16 and BF16 are raw 16-bit words.
TYPE_CODES = {
    "BOOL": "B",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "H",
    "BF16": "H",
    "FP32": "f",
    "FP64": "d",
}

HEADER_LENGTH = "inference-header-content-length"
DEADLINE_MS = "windjammer-deadline-ms"
COMPUTE_US = "windjammer-compute-us"

# Name of the BYTES [n] output that carries errors of single rows; an empty element is none.
ERROR_TENSOR = "windjammer_errors"

# Exit code of a container that passed its memory limit, as the kernel's OOM killer leaves it.
EXIT_OUT_OF_MEMORY = 137


def item_error(code, message, is_wrong_count=False):
    """One element of the error tensor: MODEL_ERROR (it raised) or INVALID_MODEL_OUTPUT (what it gave is no answer)."""
    error = {"code": code, "message": message}
    if is_wrong_count:
        error["isWrongCount"] = True
    return error
