"""Decodes a PNG with the standard library only: prints width, height, bits, colour type, the names of the
chunks, the contents of pHYs and the SHA-256 of the rows, as JSON. Usage: png.py FILE"""

import hashlib
import json
import struct
import sys
import zlib

with open(sys.argv[1], "rb") as file:
    data = file.read()
assert data[:8] == b"\x89PNG\r\n\x1a\n"
chunks, at = [], 8
while at < len(data):
    length, name = struct.unpack_from(">I4s", data, at)
    body = data[at + 8:at + 8 + length]
    assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(name + body)
    chunks.append((name.decode(), body))
    at += 12 + length
width, height, bits, colour = struct.unpack(">IIBB3x", chunks[0][1])
pixel = {2: 3, 6: 4}[colour] * bits // 8
stride = width * pixel
packed = zlib.decompress(b"".join(body for name, body in chunks if name == "IDAT"))
assert len(packed) == height * (stride + 1)


def paeth(a, b, c):
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


rows, above = [], bytes(stride)
for y in range(height):
    kind, *row = packed[y * (stride + 1):(y + 1) * (stride + 1)]
    for i in range(stride):
        left = row[i - pixel] if i >= pixel else 0
        corner = above[i - pixel] if i >= pixel else 0
        guess = [0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner)][kind]
        row[i] = row[i] + guess & 255
    above = bytes(row)
    rows.append(above)
names = [name for name, _ in chunks if name != "IDAT"]
density = [list(struct.unpack(">IIB", body)) for name, body in chunks if name == "pHYs"]
print(json.dumps([width, height, bits, colour, names, density, hashlib.sha256(b"".join(rows)).hexdigest()]))
