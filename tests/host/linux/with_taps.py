# SPDX-License-Identifier: Apache-2.0
# usage: with_taps.py NAME QUEUES COMMAND...: runs it with the queues of a tap as its descriptors 10, 11...
import fcntl
import os
import struct
import sys

IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR, TUNSETIFF = 2, 0x100, 0x1000, 0x4000, 0x400454CA
name, queues, command = sys.argv[1].encode(), int(sys.argv[2]), sys.argv[3:]
flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if queues > 1 else 0)
for number in range(10, 10 + queues):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name, flags))
    os.dup2(tap, number)
    os.close(tap)
os.execvp(command[0], command)
