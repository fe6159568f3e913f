"""The reference for reading: the same output as rows of an uncompressed SQLite database, one row for each chunk."""

import sqlite3
import sys
import time

source, target, chunk = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = sqlite3.connect(target)
rows.execute("PRAGMA journal_mode = WAL")
rows.execute("PRAGMA synchronous = NORMAL")
rows.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, run TEXT, seq INTEGER, at INTEGER, stream TEXT, offset INTEGER, text TEXT)")
rows.execute("CREATE INDEX entries_by_run ON entries (run, seq)")
rows.execute("CREATE INDEX entries_by_offset ON entries (run, offset)")


def chunks():
    with open(source, "rb") as log:
        seq = offset = 0
        while text := log.read(chunk):
            seq += 1
            yield "run", seq, 1_763_800_000_000 + seq, "stdout", offset, text.decode("utf-8", "replace")
            offset += len(text)


started_at = time.perf_counter()
with rows:
    rows.executemany("INSERT INTO entries (run, seq, at, stream, offset, text) VALUES (?, ?, ?, ?, ?, ?)", chunks())
written = time.perf_counter() - started_at

started_at = time.perf_counter()
total = 0
for (text,) in rows.execute("SELECT text FROM entries WHERE run = 'run' ORDER BY seq"):
    total += len(text)
read = time.perf_counter() - started_at


def median(query, times):
    seconds = []
    for number in range(times):
        started_at = time.perf_counter()
        query(number)
        seconds.append(time.perf_counter() - started_at)
    return sorted(seconds)[times // 2] * 1e3


def at_offset(number):
    rows.execute("SELECT text FROM entries WHERE run = 'run' AND offset <= ? ORDER BY offset DESC LIMIT 1", (total // 50 * number,)).fetchone()


def last_lines(_):
    lines = 0
    for (text,) in rows.execute("SELECT text FROM entries WHERE run = 'run' ORDER BY seq DESC"):
        lines += text.count("\n")
        if lines > 200:
            break


print(f"| SQLite: written | {total / written / 1e6:.0f} MB/s | |")
print(f"| SQLite: read inside one process | {total / read / 1e6:.0f} MB/s | |")
print(f"| SQLite: one chunk at any offset, median | {median(at_offset, 50):.2f} ms | |")
print(f"| SQLite: last 200 lines, median | {median(last_lines, 20):.2f} ms | |")
