# Boosted trees of LightGBM: rows of doubles in, one number each out.
from pathlib import Path

import lightgbm
import numpy


def load_model(dir):
    return lightgbm.Booster(model_file=Path(dir, "model.txt"))


def predict(model, inputs):
    return model.predict(numpy.stack(inputs), num_threads=1)
