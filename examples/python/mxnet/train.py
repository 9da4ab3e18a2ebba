# Trains a network a little, exports it, and writes what it answers itself to some inputs.
import json

import mxnet
from mxnet.gluon import nn

mxnet.random.seed(0)
network = nn.HybridSequential()
network.add(nn.Dense(16, activation="tanh"), nn.Dense(3))
network.initialize()
network.hybridize()
features = mxnet.nd.random.normal(shape=(256, 4))
labels = features.argmax(axis=1) % 3
loss = mxnet.gluon.loss.SoftmaxCrossEntropyLoss()
trainer = mxnet.gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 0.01})
for _ in range(50):
    with mxnet.autograd.record():
        errors = loss(network(features), labels)
    errors.backward()
    trainer.step(len(features))
network.export("network")

some = features[:20]
with open("cases.json", "w") as file:
    json.dump({"inputs": some.asnumpy().tolist(), "outputs": network(some).asnumpy().tolist()}, file)
