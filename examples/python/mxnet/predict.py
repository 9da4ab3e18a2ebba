# A network of MXNet in its exported form, which needs no class: arrays in, arrays out.
from pathlib import Path

import mxnet


def load_model(dir):
    symbol, weights = Path(dir, "network-symbol.json"), Path(dir, "network-0000.params")
    return mxnet.gluon.SymbolBlock.imports(str(symbol), ["data"], str(weights))


def predict(model, inputs):
    return model(mxnet.nd.array(inputs)).asnumpy()
