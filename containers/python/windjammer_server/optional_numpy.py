# numpy, where the model's Python has it.
try:
    import numpy
except ModuleNotFoundError as error:
    # A numpy that is there but broken must say so, not look like none.
    if error.name != "numpy":
        raise
    numpy = None
