# The error that becomes a reply of the model container, and the checks of JSON fields that raise it.
import json


class RequestError(Exception):
    """A reply with a status of its own; `str(error)` is its text."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def bad_request(message):
    return RequestError(400, message)


def as_object(value, what):
    if isinstance(value, dict):
        return value
    raise bad_request(f"{what} must be an object")


def as_list(value, what):
    if isinstance(value, list):
        return value
    raise bad_request(f"{what} must be a list")


def parameters_of(fields):
    """The `parameters` of a request, an input or an output."""
    return as_object(fields["parameters"], '"parameters"') if "parameters" in fields else {}


def quoted(value):
    """A value of the caller as JSON, cut where it is long."""
    text = "(none)" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= 80 else text[:80] + "…"
