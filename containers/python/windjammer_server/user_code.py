# Loads the model's own code (predict.py, inference.py or a pickled callable), calls it, and says what went wrong in it.
import asyncio
import functools
import importlib
import inspect
import os
import pickle
import sys
import traceback

_MAX_MESSAGE_LENGTH = 2000


class UserModel:
    """
    The callable of a bundle. `call(inputs)` takes a list or array of inputs and returns as many outputs; with
    `is_single`, one input and its output.
    """

    def __init__(self, model_dir, name, call, is_single):
        self.model_dir = model_dir
        self.name = name
        self.is_single = is_single
        self._call = call

    def call(self, inputs):
        return _result(self._call(inputs))

    def error_text(self, error):
        """What callers see of an exception: its type, message, and where in the model's files it was raised."""
        return error_text(error, self.model_dir)

    def log_error(self, error):
        """The traceback goes to the container's log, for the model's author, without the server's own frames."""
        print(f"{self.name}: {traceback_text(error, self.model_dir)}", file=sys.stderr, flush=True)


@functools.lru_cache(maxsize=None)
def _event_loop():
    """One for the process: what an async load_model opened belongs to its loop."""
    return asyncio.new_event_loop()


def _result(returned):
    return _event_loop().run_until_complete(returned) if inspect.iscoroutine(returned) else returned


class LoadError(Exception):
    """The model cannot be loaded; `str(error)` is for its author, the cause has the traceback."""


def load_user_model(model_dir, settings):
    """`settings`: `manifest.model`, with `form`, `file` and `tasks`. Raises LoadError."""
    model_dir = os.path.realpath(model_dir)
    sys.path.insert(0, model_dir)
    file, form, tasks = settings["file"], settings["form"], settings.get("tasks") or []
    if form == "pickle":
        return _load_pickle(model_dir, file, tasks)
    module = _within(model_dir, file, lambda: importlib.import_module(file[: -len(".py")]))
    load = _function(module, file, "load_model") if form == "inference" or hasattr(module, "load_model") else None
    name = "call_model" if form == "inference" else "predict"
    call = _function(module, file, name)
    if load is not None:
        _check_call(load, "load_model(dir)", file, [model_dir])
    if form == "inference":
        _check_task_call(call, file, tasks)
    else:
        _check_call(call, "predict(model, inputs)", file, [None, []])
    model = None
    if load is not None:
        model = _within(model_dir, f"load_model of {file}", lambda: _result(load(model_dir)))
    if form == "inference":
        return UserModel(model_dir, name, _task_call(lambda params, **task: call(model, params, **task), tasks), True)
    return UserModel(model_dir, name, lambda inputs: call(model, inputs), False)


def _check_task_call(call, file, tasks):
    if tasks:
        _check_call(call, "call_model(model, params, task=…)", file, [None, {}], task=tasks[0])
    elif not _takes(call, [None, {}], {}) and _takes(call, [None, {}], {"task": ""}):
        raise LoadError(
            f"call_model in {file}{_line(call)} needs a task, and the model has none: "
            'name them in config.json, as in {"tasks": ["qa"]}, or by the option tasks'
        )
    else:
        _check_call(call, "call_model(model, params)", file, [None, {}])


def _check_call(function, form, file, arguments, **keywords):
    """Else every call would fail, and with a line of ours."""
    if not _takes(function, arguments, keywords):
        name = form.split("(", 1)[0]
        raise LoadError(f"{name} in {file}{_line(function)} is {name}{inspect.signature(function)}, and is called as {form}")


def _takes(function, arguments, keywords):
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Of native code: only the call itself will tell.
        return True
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def _line(function):
    code = getattr(function, "__code__", None)
    return f", line {code.co_firstlineno}," if code else ""


def _load_pickle(model_dir, file, tasks):
    def load():
        # dill writes what only dill can read; what cloudpickle writes, pickle reads.
        try:
            import dill as reader
        except ImportError:
            reader = pickle
        with open(os.path.join(model_dir, file), "rb") as opened:
            return reader.load(opened)

    model = _within(model_dir, file, load)
    if not callable(model):
        raise LoadError(f"{file} holds {type(model).__name__}, which cannot be called; pickle a function or an object with __call__")
    if tasks:
        return UserModel(model_dir, file, _task_call(model, tasks), True)
    return UserModel(model_dir, file, model, False)


def _task_call(call, tasks):
    """A query is the params of one call; `task` in it chooses among several tasks, the first one is the default."""

    def call_task(params):
        if not tasks:
            return call(params)
        task = tasks[0]
        if len(tasks) > 1 and isinstance(params, dict) and "task" in params:
            task = params["task"]
            if task not in tasks:
                raise ValueError(f"task is {task!r}; this model has: {', '.join(tasks)}")
            params = {key: value for key, value in params.items() if key != "task"}
        return call(params, task=task)

    return call_task


def _function(module, file, name):
    found = getattr(module, name, None)
    if callable(found):
        return found
    known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
    if found is not None:
        raise LoadError(f"{name} in {file} is {type(found).__name__}, not a function")
    raise LoadError(f"{file} has no function {name}; its functions are: {', '.join(known) or '(none)'}")


def _within(model_dir, what, load):
    try:
        return load()
    except Exception as error:
        advice = ""
        if isinstance(error, ModuleNotFoundError):
            advice = "; add what it comes from to requirements.txt, or the file to the model's folder"
        elif isinstance(error, FileNotFoundError):
            advice = "; files of the model lie in the folder that load_model gets, not in the current one"
        raise LoadError(f"cannot load {what}: {error_text(error, model_dir)}{advice}") from error


def error_text(error, model_dir):
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be written)"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if len(text) > _MAX_MESSAGE_LENGTH:
        text = text[:_MAX_MESSAGE_LENGTH] + "…"
    return text + _where(error, model_dir)


def _where(error, model_dir):
    """The innermost line of the model's own files: " (predict.py, line 12)"."""
    if isinstance(error, SyntaxError) and error.filename and error.filename.startswith(model_dir + os.sep):
        # Its message has the file's name and line already.
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of(model_dir, frame.filename)]
    if not frames:
        return ""
    file = os.path.relpath(frames[-1].filename, model_dir)
    return f" ({file}, line {frames[-1].lineno})"


def traceback_text(error, model_dir):
    """A traceback that begins with the model's own frames."""
    first = error.__traceback__
    while first is not None and not _is_of(model_dir, first.tb_frame.f_code.co_filename):
        first = first.tb_next
    if first is None and isinstance(error, SyntaxError):
        # It shows its place itself; the rest is how Python imports.
        return "".join(traceback.format_exception_only(type(error), error)).rstrip("\n")
    lines = traceback.format_exception(type(error), error, first or error.__traceback__)
    return "".join(lines).rstrip("\n")


def _is_of(model_dir, filename):
    return filename.startswith(model_dir + os.sep)
