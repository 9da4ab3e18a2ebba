# A Spark session inside one process, which training and serving share: one core, no web page, no network but loopback.
from pyspark.sql import SparkSession


def session():
    return (
        SparkSession.builder.master("local[1]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
