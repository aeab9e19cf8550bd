"""Writes the inputs that a fuzz target begins with:  seeds.py TARGET FOLDER"""

import struct
import sys
import zlib
from pathlib import Path


def pieces(*parts):
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def header(key, version, correlation=1, client="fuzz", flexible=False):
    return struct.pack(">hhi", key, version, correlation) + string(client) + (b"\0" if flexible else b"")


def batch(values, attributes=0, producer=-1):
    records = b""
    for delta, value in enumerate(values):
        body = b"\0\0" + bytes([delta * 2, 1, len(value) * 2]) + value + b"\0"
        records += bytes([len(body) * 2]) + body
    last = len(values) - 1
    body = struct.pack(">hiqqqhii", attributes, last, 10**12, 10**12, producer, 0 if producer >= 0 else -1,
                       0 if producer >= 0 else -1, len(values)) + records
    return struct.pack(">qiibI", 0, 9 + len(body), 0, 2, zlib.crc32(body)) + body


def door():
    plain, scram = b"\0admin\0secret", b"n,,n=admin,r=fyko+d2lbbFgONRv9qkxdawL"
    for state in range(6):
        for framed in range(3):
            start = bytes([state, framed])
            yield start
            for token in (plain, scram, b"c=biws,r=x,p=eA==", b"", b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n"):
                yield start + pieces(token)
            for key in (0, 1, 3, 17, 18, 36, 60):
                for version in (0, 1, 3):
                    frame = header(key, version)
                    yield start + pieces(frame if framed else struct.pack(">i", len(frame)) + frame)


def api():
    topic = string("f")
    bodies = [b"", b"\0", b"\1", b"\0" * 8, b"\0" * 24, b"\0" * 64, b"\xff" * 8, b"\xff\xff\xff\xff" + b"\0" * 16,
              b"\0\0\0\1" + topic + b"\0" * 16, topic + b"\0" * 32, b"\2\2f\0\0\0", b"\2f\2f" + b"\0" * 24]
    for key in range(64):
        for version in range(0, 14, 3):
            yield pieces(*(bytes([key, version]) + body for body in bodies[:4]))
            for body in bodies:
                yield pieces(bytes([key, version]) + body)
    records = batch([b"a", b"b"])
    data = struct.pack(">hhi", -1, -1, 1000) + struct.pack(">i", 1) + topic
    data += struct.pack(">iii", 1, 0, len(records)) + records
    yield pieces(b"\0\0" + data)
    fetch = struct.pack(">iiiibiii", -1, 0, 1, 1 << 20, 0, 0, -1, 1) + topic + struct.pack(">iiiqqi", 1, 0, -1, 0, -1, 1 << 20)
    yield pieces(b"\1\3" + fetch + b"\0\0\0\0")


def records():
    for settings in range(0, 256, 8):
        yield bytes([settings]) + batch([b"a"])
        yield bytes([settings]) + batch([b"one", b"two", b""], producer=5)
        for codec in range(8):
            yield bytes([settings]) + batch([b"a", b"b"], attributes=codec)
        yield bytes([settings | 1]) + batch([b"a"]) * 2


def files():
    for text in ("a=b\nlisteners=PLAINTEXT://:9092\n", "k : v\\\n  w\n", "#c\n!d\nx\\u0041=\\u00e4", "a=${env:X}",
                 "k=\\u12", "  =  "):
        yield b"\0" + text.encode()
    for text in ('KafkaServer {\n  org.apache.kafka.common.security.plain.PlainLoginModule required\n  username="a"\n'
                 '  user_a="b";\n};\n', 'C { M optional a=b; N sufficient c="d\\"e"; };', "// c\n/* d */ X { Y requisite; };",
                 'K { M required a="${p}"; };'):
        yield b"\1" + text.encode()


target, folder = sys.argv[1], Path(sys.argv[2])
for number, seed in enumerate(globals()[target]()):
    (folder / f"seed-{number:05}").write_bytes(seed)
