# Which outputs an infer reply holds and how they travel: `outputs` and `binary_data_output` of the request.
from typing import NamedTuple, Optional, Tuple

from .request_error import as_list, as_object, bad_request, parameters_of, quoted


class ReplyChoice(NamedTuple):
    # Indices into the contract's outputs, each with whether it travels in binary.
    outputs: Tuple[Tuple[int, bool], ...]
    # How the error tensor travels.
    is_binary: bool
    id: Optional[str]


def make_reply_choice(request, contract, is_binary):
    """Raises RequestError (400)."""
    call_id = request.get("id")
    if "id" in request and not isinstance(call_id, str):
        raise bad_request('"id" must be a string')
    default = _flag(parameters_of(request), "binary_data_output", is_binary)
    listed = as_list(request["outputs"], '"outputs"') if "outputs" in request else []
    if listed:
        outputs = tuple(_output_choice(as_object(each, "an output"), contract, default) for each in listed)
    else:
        outputs = tuple((index, default) for index in range(len(contract["outputs"])))
    for index, travels_binary in outputs:
        spec = contract["outputs"][index]
        if not travels_binary and spec["datatype"] in ("FP16", "BF16"):
            raise bad_request(
                f"output {quoted(spec['name'])} is {spec['datatype']}, which JSON cannot hold; "
                "set parameters.binary_data_output"
            )
    return ReplyChoice(outputs, default, call_id)


def _output_choice(output, contract, default):
    names = [spec["name"] for spec in contract["outputs"]]
    name = output.get("name")
    if name not in names:
        raise bad_request(
            f"unknown output {quoted(name)}; the outputs are {', '.join(quoted(each) for each in names)}"
        )
    parameters = parameters_of(output)
    if "classification" in parameters:
        raise bad_request(f"output {quoted(name)}: classification is not supported")
    return names.index(name), _flag(parameters, "binary_data", default)


def _flag(parameters, name, fallback):
    value = parameters.get(name, fallback)
    if isinstance(value, bool):
        return value
    raise bad_request(f"{name} must be true or false")
