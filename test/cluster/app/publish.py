"""A publisher in Python, with nothing but a socket and the script of docs/redis.md.

Its arguments are the port of Redis and the path of append.lua. Reads keys from its input, one in each line, and publishes them as text. Prints the key,
and the id of the record, "rejected" or "unknown".
"""
import socket
import sys

LOG = "ns:{feed}"


class Redis:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.answers = self.socket.makefile("rb")

    def command(self, *args):
        parts = [str(arg).encode() for arg in args]
        text = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(b"*%d\r\n" % len(parts) + text)
        line = self.answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed")
        if line[:1] == b"-":
            raise RuntimeError(line[1:-2].decode())
        if line == b"$-1\r\n":
            return None
        return self.answers.read(int(line[1:-2]) + 2)[:-2].decode()


with open(sys.argv[2]) as file:
    APPEND = file.read()

redis = None
print("ready", flush=True)
for line in sys.stdin:
    key = line.strip()
    outcome = "rejected"
    try:
        redis = redis or Redis(int(sys.argv[1]))
        outcome = redis.command("EVAL", APPEND, 1, LOG, "", 100000, "", 4, "d", key, "e", "text") or "rejected"
    except RuntimeError:
        # Redis has answered, and has not appended it.
        pass
    except OSError:
        outcome = "unknown"
        redis = None
    print(key, outcome, flush=True)
