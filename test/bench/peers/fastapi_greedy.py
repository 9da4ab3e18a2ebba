"""FastAPI with a batcher by hand: while a batch runs in a thread, what comes waits and is the next one, up to 64 rows; bodies
are parsed by orjson. Arguments: model, port."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

import onnx_model

MAX_BATCH = 64
session = onnx_model.load(sys.argv[1])
waiting = asyncio.Queue()


async def run_batches():
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1)
    while True:
        batch = [await waiting.get()]
        while len(batch) < MAX_BATCH and not waiting.empty():
            batch.append(waiting.get_nowait())
        rows = numpy.array([row for row, _ in batch], dtype=numpy.float32)
        outputs = await loop.run_in_executor(thread, onnx_model.predict, session, rows)
        for (_, answer), output in zip(batch, outputs):
            if not answer.done():
                answer.set_result(output)


@asynccontextmanager
async def lifespan(_):
    batches = asyncio.create_task(run_batches())
    yield
    batches.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Request):
    answer = asyncio.get_running_loop().create_future()
    waiting.put_nowait((orjson.loads(await request.body())["input"], answer))
    return Response(orjson.dumps({"output": await answer}), media_type="application/json")


uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
