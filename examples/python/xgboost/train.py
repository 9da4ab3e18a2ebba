# Trains boosted trees, writes them as JSON, and what they answer themselves to some inputs.
import json

import numpy
import xgboost

random = numpy.random.default_rng(0)
rows = random.random((500, 5))
target = rows[:, 0] * 3 + (rows[:, 1] > 0.5)
model = xgboost.train({"nthread": 1, "max_depth": 4}, xgboost.DMatrix(rows, target), num_boost_round=20)
model.save_model("model.json")

with open("cases.json", "w") as file:
    outputs = model.predict(xgboost.DMatrix(rows[:20])).tolist()
    json.dump({"inputs": rows[:20].tolist(), "outputs": outputs}, file)
