# A PyTorch network from its state_dict: arrays in, arrays out.
from pathlib import Path

import torch
from network import Network


def load_model(dir):
    network = Network()
    network.load_state_dict(torch.load(Path(dir, "network.pt"), weights_only=True))
    return network.eval()


@torch.inference_mode()
def predict(model, inputs):
    return model(torch.from_numpy(inputs))
