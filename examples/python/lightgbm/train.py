# Trains boosted trees, writes them as text, and what they answer themselves to some inputs.
import json

import lightgbm
import numpy

random = numpy.random.default_rng(0)
rows = random.random((500, 5))
target = rows[:, 0] * 3 + (rows[:, 1] > 0.5)
model = lightgbm.train(
    {"objective": "regression", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, target), num_boost_round=20
)
model.save_model("model.txt")

with open("cases.json", "w") as file:
    json.dump({"inputs": rows[:20].tolist(), "outputs": model.predict(rows[:20]).tolist()}, file)
