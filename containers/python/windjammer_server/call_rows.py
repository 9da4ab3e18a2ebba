# Calls a user's function with the rows of a batch, so that one bad row fails alone; as containers/call-rows.ts does.
from .outputs import InvalidOutputError, WrongCountError
from .protocol import item_error


class RowsCall:
    """How one call of a user's function is made; `user.call(rows)` calls it with these rows of the batch."""

    def __init__(self, user, outputs, call, deadline):
        self.call = call
        self.split = outputs.split
        self.user = user
        # Of the infer call: `is_over()`, `why_over()`.
        self.deadline = deadline


class _Outcome:
    __slots__ = ("values", "error", "raised")

    def __init__(self, values=None, error=None, raised=None):
        self.values = values
        self.error = error
        self.raised = raised

    @property
    def is_wrong_count(self):
        return self.error is not None and "isWrongCount" in self.error


class _Tried:
    """What is known of one row; `is_alone`: the function was called with this row and no other."""

    __slots__ = ("value", "error", "is_alone")

    def __init__(self, value, error, is_alone):
        self.value = value
        self.error = error
        self.is_alone = is_alone


def call_for_rows(rows, user):
    """
    Values of `rows` in their order, and a list of their errors (None: all are good). Rows that fail together are halved
    until the bad ones are alone: 2·log2(n) calls more for one bad row among n. Rows that have not run at the deadline
    fail.
    """
    if not rows:
        return [], None
    outcome = _call_once(rows, user)
    if outcome.error is None:
        return outcome.values, None
    tried = _settle(rows, outcome, user)
    if outcome.is_wrong_count and not _is_fault_of_rows(rows, tried, user):
        return [None] * len(rows), [outcome.error] * len(rows)
    return [each.value for each in tried], [each.error for each in tried]


def _call_once(rows, user):
    try:
        return _Outcome(values=user.split(user.call(rows), len(rows)))
    except WrongCountError as error:
        return _Outcome(error=item_error("INVALID_MODEL_OUTPUT", str(error), is_wrong_count=True))
    except InvalidOutputError as error:
        return _Outcome(error=item_error("INVALID_MODEL_OUTPUT", str(error)))
    except SystemExit:
        raise
    except BaseException as error:
        return _Outcome(error=item_error("MODEL_ERROR", user.user.error_text(error)), raised=error)


def _settle(rows, outcome, user):
    is_alone = len(rows) == 1
    if outcome.error is None:
        return [_Tried(value, None, is_alone) for value in outcome.values]
    if not is_alone and not user.deadline.is_over():
        return _try_halves(rows, user)
    if outcome.raised is not None:
        user.user.log_error(outcome.raised)
    return [_Tried(None, outcome.error, is_alone) for _ in rows]


def _try_halves(rows, user):
    middle = (len(rows) + 1) // 2
    left, right = rows[:middle], rows[middle:]
    tried = _settle(left, _call_once(left, user), user)
    if not user.deadline.is_over():
        return tried + _settle(right, _call_once(right, user), user)
    error = item_error("MODEL_ERROR", f"{user.deadline.why_over()} before this input could run")
    return tried + [_Tried(None, error, False) for _ in right]


def _is_fault_of_rows(rows, tried, user):
    """
    A wrong count is the fault of rows when some fail alone and some do not. When all or none fail alone, the function
    does not handle lists, which is no row's fault.
    """
    alone = [each for each in tried if each.is_alone]
    if all(each.error is None for each in alone):
        return False
    if any(each.error is None for each in alone):
        return True
    # What was good only among others may be so by chance: the function may always return as many outputs.
    candidate = next((index for index, each in enumerate(tried) if each.error is None), None)
    if candidate is None or user.deadline.is_over():
        return False
    return _call_once(rows[candidate : candidate + 1], user).error is None
