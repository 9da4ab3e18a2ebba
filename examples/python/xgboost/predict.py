# Boosted trees of XGBoost: rows of doubles in, one number each out.
from pathlib import Path

import numpy
import xgboost


def load_model(dir):
    return xgboost.Booster({"nthread": 1}, model_file=str(Path(dir, "model.json")))


def predict(model, inputs):
    return model.predict(xgboost.DMatrix(numpy.stack(inputs)))
