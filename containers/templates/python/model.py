# The model: what it takes, what it gives, and how. Shapes are those of one row, without the batch; -1 is any length.
INPUTS = [{"name": "x", "datatype": "FP32", "shape": [2]}]
OUTPUTS = [{"name": "sum", "datatype": "FP32", "shape": []}]


def load(folder):
    """Loads the model once, at the start. `folder` holds the files of this project."""
    return lambda row: row[0] + row[1]


def predict(model, inputs):
    """Takes a list of rows for each input, gives as many for each output, in their order."""
    return {"sum": [model(row) for row in inputs["x"]]}
