# SPDX-License-Identifier: Apache-2.0
# A DNS server on 127.0.0.1 that knows one name: resolver.py NAME ADDRESS FILE. It makes FILE when it is ready.
import socket
import struct
import sys

name, address, ready = sys.argv[1:]
question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
open(ready, "w").close()
while True:
    query, peer = server.recvfrom(512)
    end = query.index(b"\0", 12) + 1
    asked, kind = query[12:end], query[end : end + 2]
    found = asked.lower() == question
    answers = 1 if found and kind == b"\0\1" else 0
    flags = 0x8180 if found else 0x8183  # no error, or no such name
    answer = query[:2] + struct.pack(">5H", flags, 1, answers, 0, 0) + query[12 : end + 4]
    if answers:
        answer += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
    server.sendto(answer, peer)
