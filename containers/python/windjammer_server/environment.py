# Reads a model container's environment: where it listens, what it serves, its limits.
from typing import NamedTuple, Optional


class Environment(NamedTuple):
    socket_path: Optional[str]
    host: str
    port: int
    model_name: str
    model_version: str
    model_dir: str
    memory_limit_mb: Optional[int]
    exits_with_parent: bool


def read_environment(variables):
    """Raises ValueError that names the variable which is wrong."""
    _integer(variables, "WINDJAMMER_THREADS", 1, 1024)
    port = _integer(variables, "PORT", 0, 65_535)
    return Environment(
        socket_path=variables.get("WINDJAMMER_SOCKET") or None,
        host=variables.get("WINDJAMMER_HOST") or "0.0.0.0",
        port=8080 if port is None else port,
        model_name=variables.get("WINDJAMMER_MODEL_NAME") or "model",
        model_version=variables.get("WINDJAMMER_MODEL_VERSION") or "1",
        model_dir=variables.get("WINDJAMMER_MODEL_DIR") or "/model",
        memory_limit_mb=_integer(variables, "WINDJAMMER_MEMORY_LIMIT_MB", 1, 2**30),
        exits_with_parent=variables.get("WINDJAMMER_EXIT_WITH_PARENT") == "1",
    )


def _integer(variables, name, least, most):
    text = variables.get(name)
    if not text:
        return None
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if least <= value <= most:
        return value
    raise ValueError(f'{name} is "{text}"; it takes a whole number from {least} to {most}')
