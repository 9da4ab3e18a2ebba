# Compiles a network to TorchScript, and writes what it answers itself to some inputs.
import json

import torch

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
).eval()
images = torch.rand(12, 1, 8, 8)
torch.jit.trace(network, images[:1]).save("network.torchscript")

with open("cases.json", "w") as file:
    json.dump({"inputs": images.tolist(), "outputs": network(images).tolist()}, file)
