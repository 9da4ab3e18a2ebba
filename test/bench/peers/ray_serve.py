"""Ray Serve, one replica, batches of up to 64 rows, a window of 5 ms. Arguments: model, port. With
RAY_SERVE_THROUGHPUT_OPTIMIZED=1 the replica is asked straight, on a port of its own, not through Ray's proxy."""

import os
import sys
import threading

# Ray runs its workers at nice 15 else, behind everything on the machine.
os.environ["RAY_worker_niceness"] = "0"
os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))

import numpy
import ray
from ray import serve
from starlette.requests import Request

import onnx_model

MODEL, PORT = sys.argv[1], int(os.environ.get("WINDJAMMER_BENCH_PROXY_PORT", sys.argv[2]))


@serve.deployment(num_replicas=1, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 1})
class Model:
    def __init__(self):
        self.session = onnx_model.load(MODEL)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)
    async def run(self, inputs):
        return onnx_model.predict(self.session, numpy.array(inputs, dtype=numpy.float32))

    async def __call__(self, request: Request):
        return {"output": await self.run((await request.json())["input"])}


ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="error")
serve.start(
    http_options={"host": "127.0.0.1", "port": PORT},
    logging_config={"enable_access_log": False, "log_level": "ERROR"},
)
serve.run(Model.bind(), route_prefix="/predict")
threading.Event().wait()
