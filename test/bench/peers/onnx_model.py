"""The model that every peer serves: one thread of onnxruntime, as our own containers have."""

import onnxruntime


def load(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def predict(session, rows):
    """A float32 array of rows in, lists of scores out."""
    return session.run(None, {"pixels": rows})[0].tolist()
