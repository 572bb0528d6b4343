"""The raw samples and events of a soak, as lines of JSON, and what violated a rule."""
import json
import time


class Record:
    """Where everything that happens is written to. Times are seconds since the beginning."""

    def __init__(self, path):
        self.path, self.begin = path, time.monotonic()
        self.file = open(path, "w", buffering=1)
        self.lines, self.violations = [], []

    def now(self):
        return time.monotonic() - self.begin

    def write(self, kind, **fields):
        """Adds one line and keeps it for the verdict."""
        line = {"t": round(self.now(), 3), "kind": kind, **fields}
        self.lines.append(line)
        self.file.write(json.dumps(line) + "\n")

    def event(self, text, **fields):
        """Something was done to the gateways. It is also told on the terminal."""
        self.write("event", text=text, **fields)
        print(f"{self.now():8.1f} s  {text}", flush=True)

    def violation(self, text):
        """A rule was broken. The run goes on, and fails in the end."""
        self.violations.append(text)
        self.event(f"VIOLATION: {text}")

    def of(self, kind):
        return [line for line in self.lines if line["kind"] == kind]

    def events_between(self, begin, end):
        """What was done in a span of time, in words."""
        return [line["text"] for line in self.of("event") if begin <= line["t"] <= end]
