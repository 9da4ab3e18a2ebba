# Trains the network a little, writes its weights, and what it answers itself to some inputs.
import json

import torch
from network import Network

torch.manual_seed(0)
batch = torch.randn(256, 4)
target = batch.argmax(dim=1) % 3
network = Network()
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
for _ in range(50):
    optimizer.zero_grad()
    torch.nn.functional.nll_loss(network(batch).log(), target).backward()
    optimizer.step()
network.eval()
torch.save(network.state_dict(), "network.pt")

with open("cases.json", "w") as file:
    json.dump({"inputs": batch[:20].tolist(), "outputs": network(batch[:20]).tolist()}, file)
