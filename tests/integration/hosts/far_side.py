"""loomd on another host, as a bad line or another release shows it.

    far_side.py cut SEED COUNTER COMMAND...     breaks the line after a random number of bytes, other ones each time
    far_side.py lose METHOD MARKER COMMAND...   breaks it in place of the answer to the first request of this method
    far_side.py answer MEMBERS COMMAND...       the answer to `initialize` has these members, as JSON, in place of its own
"""

import json
import os
import random
import subprocess
import sys
import threading

# A first connection that breaks before it is one is a host that is not there. Later ones, for which nobody may be asked for a password,
# may break at once, and let through what is asked at a time now and then.
if os.environ.get("SSH_ASKPASS_REQUIRE") == "never":
    FEWEST_BYTES, MOST_BYTES = 500, 60_000
else:
    FEWEST_BYTES, MOST_BYTES = 9_000, 20_000


def pump_input(child):
    try:
        while block := sys.stdin.buffer.raw.read(65536):
            child.stdin.write(block)
            child.stdin.flush()
        child.stdin.close()
    except OSError:
        pass


def start(command):
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    threading.Thread(target=pump_input, args=(child,), daemon=True).start()
    return child


def write(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def cut(seed, counter, command):
    with open(counter, "a+") as file:
        file.write("x")
        file.flush()
        file.seek(0)
        count = len(file.read())
    left = random.Random(f"{seed}:{count}").randint(FEWEST_BYTES, MOST_BYTES)
    child = start(command)
    while block := child.stdout.read1(min(left, 4096)):
        write(block)
        left -= len(block)
        if left == 0:
            child.kill()
            child.wait()
            print(f"Connection closed after {count} attempts", file=sys.stderr)
            sys.exit(255)
    sys.exit(child.wait())


def frame(stream):
    length = None
    while (line := stream.readline()) not in (b"\r\n", b""):
        length = int(line.split(b":")[1])
    return stream.read(length) if length else None


def encode(body):
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def lose(method, marker, command):
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    lost = []

    def requests():
        while body := frame(sys.stdin.buffer):
            message = json.loads(body)
            if message.get("method") == method and not os.path.exists(marker):
                open(marker, "w").close()
                lost.append(message["id"])
            child.stdin.write(encode(body))
            child.stdin.flush()
        child.stdin.close()

    threading.Thread(target=requests, daemon=True).start()
    while body := frame(child.stdout):
        message = json.loads(body)
        if "method" not in message and message.get("id") in lost:
            child.kill()
            child.wait()
            os._exit(255)
        write(encode(body))
    os._exit(child.wait())


def answer(members, command):
    child = start(command)
    message = json.loads(frame(child.stdout))
    for name, value in json.loads(members).items():
        old = message["result"].get(name, {})
        message["result"][name] = {**old, **value} if isinstance(value, dict) else value
    write(encode(json.dumps(message).encode()))
    while block := child.stdout.read1(65536):
        write(block)
    sys.exit(child.wait())


if sys.argv[1] == "cut":
    cut(sys.argv[2], sys.argv[3], sys.argv[4:])
elif sys.argv[1] == "lose":
    lose(sys.argv[2], sys.argv[3], sys.argv[4:])
else:
    answer(sys.argv[2], sys.argv[3:])
