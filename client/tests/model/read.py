"""Reads models with the tools of the formats' authors and prints what is in them as JSON: for each
file, name, type, shape and the place of the data, which goes to FOLDER/blob.
Usage: read.py FOLDER FILE..."""

import json
import sys
from pathlib import Path

import gguf
from safetensors import deserialize


def tensors(path):
    if path.suffix == ".gguf":
        for tensor in gguf.GGUFReader(path).tensors:
            shape = [int(n) for n in reversed(tensor.shape)]
            yield tensor.name, tensor.tensor_type.name, shape, tensor.data.tobytes()
    else:
        for name, tensor in deserialize(path.read_bytes()):
            yield name, tensor["dtype"], tensor["shape"], bytes(tensor["data"])


result = []
with open(Path(sys.argv[1]) / "blob", "wb") as blob:
    for path in sys.argv[2:]:
        for name, dtype, shape, data in tensors(Path(path)):
            result.append([path, name, dtype, shape, blob.tell(), len(data)])
            blob.write(data)
print(json.dumps(result))
