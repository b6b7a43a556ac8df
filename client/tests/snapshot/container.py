"""The file of a snapshot, as docs/snapshots.md describes it. Only the standard library is used.
Usage: container.py write FILE WIDTH HEIGHT STRIDE FOURCC ROTATION DENSITY COLOR_SPACE < PIXELS
       container.py read FILE        prints these numbers, and the SHA-256 of the pixels, as JSON"""

import hashlib
import json
import struct
import sys

FIELDS = "<8sIIII4sIIIQI"
PAGE = 16384


def crc32c(data):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def write(path, width, height, stride, fourcc, rotation, density, space):
    pixels = sys.stdin.buffer.read()
    assert len(pixels) == int(stride) * int(height)
    payload = pixels + bytes(-len(pixels) % PAGE)
    numbers = [int(number) for number in (width, height, stride)]
    rest = [int(number) for number in (rotation, density, space)]
    header = struct.pack(
        FIELDS, b"dmasnap\0", 1, *numbers, fourcc.encode(), *rest, len(pixels), crc32c(payload)
    )
    header += bytes(PAGE - 4 - len(header))
    with open(path, "wb") as file:
        file.write(header + struct.pack("<I", crc32c(header)) + payload)


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    header, payload = data[:PAGE], data[PAGE:]
    magic, version, width, height, stride, fourcc, rotation, density, space, length, crc = (
        struct.unpack_from(FIELDS, header)
    )
    assert (magic, version) == (b"dmasnap\0", 1)
    assert not any(header[struct.calcsize(FIELDS):-4])
    assert struct.unpack("<I", header[-4:])[0] == crc32c(header[:-4])
    assert length == stride * height and len(payload) == length + -length % PAGE
    assert not any(payload[length:]) and crc == crc32c(payload)
    digest = hashlib.sha256(payload[:length]).hexdigest()
    print(json.dumps([width, height, stride, fourcc.decode(), rotation, density, space, digest]))


globals()[sys.argv[1]](*sys.argv[2:])
