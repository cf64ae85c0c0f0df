"""A publisher in Python, with nothing but a socket: the commands of docs/redis.md.

Reads keys from its input, one in each line, and publishes them as text. Prints the key and the id of the record, or the key and "unknown" or "rejected".
"""
import socket
import sys
import time

LOG = "ns:{feed}"


class Redis:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.answers = self.socket.makefile("rb")

    def command(self, *args):
        parts = [str(arg).encode() for arg in args]
        text = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(b"*%d\r\n" % len(parts) + text)
        return self.answer()

    def answer(self):
        line = self.answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.answers.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return rest.decode()


def epoch_of(redis):
    state = redis.command("XINFO", "STREAM", LOG)
    fields = dict(zip(state[::2], state[1::2]))
    return fields["last-generated-id"].split("-")[0]


def append(redis, key):
    id = epoch_of(redis) + "-*"
    now = int(time.time() * 1000)
    return redis.command("XADD", LOG, "NOMKSTREAM", "MAXLEN", "~", 100000, id, "d", key, "e", "text", "s", now)


redis = None
print("ready", flush=True)
for line in sys.stdin:
    key = line.strip()
    outcome = "rejected"
    try:
        redis = redis or Redis(int(sys.argv[1]))
        outcome = append(redis, key) or "rejected"
    except RuntimeError:
        # Redis has answered, and has not appended it.
        pass
    except OSError:
        outcome = "unknown"
        redis = None
    print(key, outcome, flush=True)
