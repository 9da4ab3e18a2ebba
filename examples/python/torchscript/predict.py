# A PyTorch network as TorchScript, which needs no class: images in, scores out.
from pathlib import Path

import torch


def load_model(dir):
    return torch.jit.load(str(Path(dir, "network.torchscript"))).eval()


@torch.inference_mode()
def predict(model, inputs):
    return model(torch.from_numpy(inputs))
