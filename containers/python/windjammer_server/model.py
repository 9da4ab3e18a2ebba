# The loaded model: predicts one batch of tensors after the other.
from itertools import repeat
from math import prod

from .call_rows import RowsCall, call_for_rows
from .optional_numpy import numpy
from .outputs import ArrayOutputs, JsonOutputs
from .protocol import DATATYPE_BYTES
from .tensors import Tensor
from .user_code import LoadError, load_user_model
from .values import copies, decode_arrays, decode_rows


class Model:
    """With inputs of type "tensor" the user's function gets whole arrays, else a list with one value a row."""

    def __init__(self, model_dir, manifest):
        """Raises LoadError."""
        contract = manifest["contract"]
        self._inputs = contract["inputs"]
        self._takes_arrays = manifest["inputType"] == "tensor"
        outputs = contract["outputs"]
        gives_json = len(outputs) == 1 and outputs[0].get("contentType") == "json" and outputs[0]["shape"] == []
        if numpy is None and (self._takes_arrays or not gives_json):
            raise LoadError("declared tensors need numpy, which is not installed: add numpy to requirements.txt")
        self._user = load_user_model(model_dir, manifest["model"])
        self._outputs = (JsonOutputs if gives_json else ArrayOutputs)(outputs, self._user.name)
        self.gives_json = gives_json

    def predict(self, inputs, count, deadline):
        """Output tensors, and a list of errors by row, or None."""
        values, errors = self._decode(inputs, count)
        if count > 1 and not self._user.is_single:
            values = self._fresh(values, inputs, count)
        else:
            values = repeat(values)
        call = self._array_call(values, count) if self._takes_arrays else self._value_call(values)
        rows = range(count) if not errors else [row for row in range(count) if row not in errors]
        results, failed = self._call(rows, call, deadline)
        if failed is None and not errors:
            tensors = self._outputs.join(results, errors, count)
        else:
            for row, error in zip(rows, failed or []):
                if error is not None:
                    errors[row] = error
            by_row = dict(zip(rows, results))
            tensors = self._outputs.join([by_row.get(row) for row in range(count)], errors, count)
        return tensors, [errors.get(row) for row in range(count)] if errors else None

    def _call(self, rows, call, deadline):
        user = RowsCall(self._user, self._outputs, call, deadline)
        if not self._user.is_single:
            return call_for_rows(rows, user)
        results = [call_for_rows([row], user) for row in rows]
        return [values[0] for values, _ in results], [errors and errors[0] for _, errors in results]

    def _decode(self, inputs, count):
        return decode_arrays(inputs) if self._takes_arrays else decode_rows(inputs, count)

    def _fresh(self, first, inputs, count):
        """
        The inputs for one call after the other: a function may change what it gets, and must not meet that again when
        the halves of a failed batch are tried.
        """
        kept = copies(inputs)
        yield first
        while True:
            yield self._decode(copies(kept), count)[0]

    def _value_call(self, each):
        user = self._user

        def call(rows):
            values = next(each)
            return [user.call(values[rows[0]])] if user.is_single else user.call([values[row] for row in rows])

        return call

    def _array_call(self, each, count):
        user = self._user

        def call(rows):
            arrays = next(each)
            if len(rows) == count:
                chosen = arrays
            else:
                is_range = rows[-1] - rows[0] == len(rows) - 1
                index = slice(rows[0], rows[-1] + 1) if is_range else list(rows)
                chosen = {name: array[index] for name, array in arrays.items()}
            return user.call(chosen if len(chosen) > 1 else next(iter(chosen.values())))

        return call

    def warm_up(self, deadline):
        """Runs a tensor model once on zeros; made-up values of other types would say nothing. Its error, or None."""
        if not self._takes_arrays or any(spec["datatype"] == "BYTES" for spec in self._inputs):
            return None
        _, errors = self.predict([_zeros(spec) for spec in self._inputs], 1, deadline)
        return errors and errors[0]["message"]


def _zeros(spec):
    shape = [1] + [max(size, 1) for size in spec["shape"]]
    data = memoryview(bytearray(prod(shape) * DATATYPE_BYTES[spec["datatype"]]))
    return Tensor(spec["name"], spec["datatype"], shape, data)
