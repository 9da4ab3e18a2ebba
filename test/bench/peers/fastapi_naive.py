"""FastAPI as its tutorial has it: a typed body, one call of the model a request. Arguments: model, port."""

import sys

import numpy
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import onnx_model


class Query(BaseModel):
    input: list[float]


session = onnx_model.load(sys.argv[1])
app = FastAPI()


@app.post("/predict")
def predict(query: Query):
    rows = numpy.array([query.input], dtype=numpy.float32)
    return {"output": onnx_model.predict(session, rows)[0]}


uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
