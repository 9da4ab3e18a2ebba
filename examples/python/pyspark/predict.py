# A saved pipeline of PySpark: rows of two doubles in, the probabilities of two classes out.
from pathlib import Path

from pyspark.ml import PipelineModel
from session import session


def load_model(dir):
    spark = session()
    return spark, PipelineModel.load(Path(dir, "pipeline").resolve().as_uri())


def predict(model, inputs):
    spark, pipeline = model
    frame = spark.createDataFrame([(float(x), float(y)) for x, y in inputs], "x double, y double")
    rows = pipeline.transform(frame).select("probability").collect()
    return [row.probability.toArray().tolist() for row in rows]
