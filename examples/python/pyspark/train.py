# Fits a pipeline, saves it as a folder, and what it answers itself to some inputs.
import json
import random
from pathlib import Path

from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from session import session

random.seed(0)
spark = session()
points = [(random.random(), random.random()) for _ in range(200)]
frame = spark.createDataFrame([(x, y, float(x + y > 1)) for x, y in points], "x double, y double, label double")
stages = [VectorAssembler(inputCols=["x", "y"], outputCol="features"), LogisticRegression(maxIter=20)]
pipeline = Pipeline(stages=stages).fit(frame)
pipeline.write().overwrite().save(Path("pipeline").resolve().as_uri())

answers = [row.probability.toArray().tolist() for row in pipeline.transform(frame).select("probability").take(20)]
with open("cases.json", "w") as file:
    json.dump({"inputs": points[:20], "outputs": answers}, file)
spark.stop()
