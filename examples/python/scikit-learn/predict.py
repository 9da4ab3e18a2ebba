# A pickled scikit-learn model: probabilities of the three kinds of iris.
import pickle
from pathlib import Path


def load_model(dir):
    return pickle.loads(Path(dir, "model.pkl").read_bytes())


def predict(model, inputs):
    return model.predict_proba(inputs)
