# Trains a classifier of irises, writes it as a pickle, and what it answers itself to some inputs.
import json
import pickle

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

flowers = load_iris()
model = RandomForestClassifier(n_estimators=20, random_state=0).fit(flowers.data, flowers.target)
with open("model.pkl", "wb") as file:
    pickle.dump(model, file)

inputs = flowers.data[::10]
with open("cases.json", "w") as file:
    json.dump({"inputs": inputs.tolist(), "outputs": model.predict_proba(inputs).tolist()}, file)
