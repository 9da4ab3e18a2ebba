# The model: the way along a great circle. All that is written by hand; server.py comes from `windjammer init container`.
from math import asin, cos, radians, sin, sqrt

# Shapes are those of one row, without the batch: latitude and longitude in degrees.
INPUTS = [
    {"name": "from", "datatype": "FP64", "shape": [2]},
    {"name": "to", "datatype": "FP64", "shape": [2]},
]
OUTPUTS = [{"name": "miles", "datatype": "FP64", "shape": []}]


def load(folder):
    """Radius of the Earth in nautical miles."""
    return 6371.0 / 1.852


def predict(radius, inputs):
    return {"miles": [distance(radius, *start, *end) for start, end in zip(inputs["from"], inputs["to"])]}


def distance(radius, latitude, longitude, to_latitude, to_longitude):
    north = sin(radians(to_latitude - latitude) / 2) ** 2
    east = sin(radians(to_longitude - longitude) / 2) ** 2
    return 2 * radius * asin(sqrt(north + cos(radians(latitude)) * cos(radians(to_latitude)) * east))
