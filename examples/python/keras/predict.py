# A Keras network with two inputs and two outputs, by name. KERAS_BACKEND chooses what computes.
from pathlib import Path

import keras


def load_model(dir):
    return keras.saving.load_model(Path(dir, "network.keras"))


def predict(model, inputs):
    return model.predict_on_batch(inputs)
