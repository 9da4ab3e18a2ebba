# Trains a network of two inputs and two outputs a little, and writes what it answers itself to some inputs.
import json
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy

keras.utils.set_random_seed(0)
left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()([left, right]))
total, scores = keras.layers.Dense(1, name="total")(hidden), keras.layers.Dense(4, name="scores")(hidden)
network = keras.Model({"left": left, "right": right}, {"total": total, "scores": scores})
network.compile(loss={"total": "mse", "scores": "mse"})
random = numpy.random.default_rng(0)
inputs = {"left": random.random((64, 3), "float32"), "right": random.random((64, 2), "float32")}
network.fit(inputs, {"total": inputs["left"].sum(1), "scores": random.random((64, 4))}, epochs=2, verbose=0)
network.save("network.keras")

some = {name: array[:10] for name, array in inputs.items()}
outputs = network.predict(some, verbose=0)
rows = range(10)
with open("cases.json", "w") as file:
    json.dump(
        {
            "inputs": [{name: array[row].tolist() for name, array in some.items()} for row in rows],
            "outputs": [{name: outputs[name][row].tolist() for name in ("total", "scores")} for row in rows],
        },
        file,
    )
