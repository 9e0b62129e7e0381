"""The example `payments` as a child process, and what is asked of it without a client library."""

import http.client
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

BINARY = Path(
    os.environ.get("PAYMENTS") or Path(__file__).parents[2] / "target" / "release" / "examples" / "payments"
)
SECONDS_MAX = 60


class Server:
    """The example on a port of the loopback address, with its store in `directory`.

    `trouble` says what becomes of each key's tries ("503,lose"), `bank_millis` how long the bank takes to answer.
    """

    def __init__(self, directory, *, trouble=None, bank_millis=0):
        self.directory = directory
        self.trouble = trouble
        self.bank_millis = bank_millis
        self.port = 0
        self.process = None
        self.start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def backups(self):
        return self.directory.with_name("backups")

    def start(self):
        """Starts it, on the port of before if there was one, and waits until it listens."""
        environment = {**os.environ, "PAYMENTS_BANK_MILLIS": str(self.bank_millis)}
        if self.trouble:
            environment["PAYMENTS_TROUBLE"] = self.trouble
        command = [BINARY, "--listen", f"127.0.0.1:{self.port}", "--store", self.directory, "--backups", self.backups]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        ready, operator = self.process.stdout.readline(), self.process.stdout.readline()
        found = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", ready)
        assert found, f"the server said {ready!r} and ended with {self.process.poll()}"
        self.port = int(found.group(1))
        self.operator = operator.split()[1]

    def stop(self, number=signal.SIGKILL):
        """Ends it by a signal and answers its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=SECONDS_MAX)
        self.process.stdout.close()
        return code

    def restart(self, *, trouble=None):
        """Kills it and starts it again, with trouble of its own."""
        self.stop()
        self.trouble = trouble
        self.start()

    def ask(self, method, path, bearer):
        """A bare request without a body: its JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {bearer}"})
            response = connection.getresponse()
            body = json.loads(response.read())
            assert response.status == 200, body
            return body
        finally:
            connection.close()

    def charges(self, account="ann"):
        """How many charges the account has."""
        return self.ask("GET", "/v1/charges", f"sk_test_{account}")["total_count"]

    def counts(self):
        """How often the layer answered what, since the server was started."""
        return self.ask("GET", "/operator/counts", self.operator)

    def back_up(self):
        """Makes a backup; its directory."""
        return self.backups / self.ask("POST", "/operator/backups", self.operator)["name"]


def until(condition):
    """Waits until it holds."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
