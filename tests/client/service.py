"""The example server as a child process, and three ways to call it.

`old` is the vendor's older SDK (query style), `new` the newer one (header style), and `raw` a bare HTTP request, for
what no SDK would send.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import urllib.parse
import uuid
from pathlib import Path
from typing import NamedTuple

# The older SDK goes through HTTP_PROXY wherever it is set, loopback or not, and knows no NO_PROXY.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)

from aliyunsdkcore.acs_exception.exceptions import ServerException  # noqa: E402
from aliyunsdkcore.client import AcsClient  # noqa: E402
from aliyunsdkess.request.v20140828.CreateScalingGroupRequest import CreateScalingGroupRequest  # noqa: E402
from aliyunsdkess.request.v20140828.DescribeScalingGroupsRequest import DescribeScalingGroupsRequest  # noqa: E402

BINARY = Path(
    os.environ.get("SCALING_GROUPS")
    or Path(__file__).parents[2] / "target" / "release" / "examples" / "scaling_groups"
)
SECRET = "not-verified"
REGION = "cn-hangzhou"
START_SECONDS_MAX = 60


class Server:
    """The example on a free port of the loopback address, with its store in `directory`."""

    def __init__(self, directory):
        self.directory = directory
        self.process = None
        self.port = None
        self.start()

    def start(self):
        """Starts it and waits until it listens."""
        command = [str(BINARY), "--listen", "127.0.0.1:0", "--store", str(self.directory)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        ready = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)
        assert ready, f"the server said {line!r} and ended with {self.process.poll()}"
        self.port = int(ready.group(1))

    def send(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGKILL):
        """Ends it by a signal and answers its exit code."""
        self.send(number)
        code = self.process.wait(timeout=START_SECONDS_MAX)
        self.process.stdout.close()
        return code

    def restart(self, number=signal.SIGKILL):
        self.stop(number)
        self.start()


class Reply(NamedTuple):
    """An answer as it came over the wire."""

    status: int
    body: bytes
    replayed: bool

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["Code"]


class Refused(NamedTuple):
    """What a client library made of an error."""

    status: int
    code: str
    request_id: str


def client(account="LTAI-one", timeout=30):
    """A client of the older SDK. It never retries this product by itself, so the tests do."""
    return AcsClient(account, SECRET, REGION, timeout=timeout)


def create_request(server, token, **parameters):
    """CreateScalingGroup as the older SDK makes it: one to three instances, unless `parameters` say otherwise."""
    request = CreateScalingGroupRequest()
    for name, value in {"MinSize": 1, "MaxSize": 3, "ScalingGroupName": "web", **parameters}.items():
        getattr(request, f"set_{name}")(value)
    if token is not None:
        request.set_ClientToken(token)
    return addressed(server, request)


def addressed(server, request):
    """Directs a request of the older SDK to the server, whichever port it has now."""
    request.set_endpoint(f"127.0.0.1:{server.port}")
    request.set_protocol_type("http")
    return request


def call(acs, request):
    """Sends a request of the older SDK: the body's bytes, or what was refused."""
    try:
        return acs.do_action_with_exception(request)
    except ServerException as error:
        return Refused(error.get_http_status(), error.get_error_code(), error.get_request_id())


def create(server, acs, token, **parameters):
    return call(acs, create_request(server, token, **parameters))


def groups(server, acs):
    """Every group of the account, page by page; the count that the server gives has to agree."""
    found = []
    while True:
        request = addressed(server, DescribeScalingGroupsRequest())
        request.set_PageSize(50)
        request.set_PageNumber(len(found) // 50 + 1)
        answer = json.loads(call(acs, request))
        page = answer["ScalingGroups"]["ScalingGroup"]
        found += page
        if len(page) < 50:
            assert answer["TotalCount"] == len(found)
            return found


def total(server, acs):
    return len(groups(server, acs))


def sent(request):
    """Nonce and timestamp that the older SDK signed the request with."""
    query = urllib.parse.unquote(request.string_to_sign.split("&", 2)[2])
    fields = dict(urllib.parse.parse_qsl(query))
    return fields["SignatureNonce"], fields["Timestamp"]


def nonce():
    return uuid.uuid4().hex


def raw(server, method, parameters, *, form=None, headers=None):
    """A bare request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        query = urllib.parse.urlencode(parameters)
        body = None if form is None else urllib.parse.urlencode(form)
        extra = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, f"/?{query}", body=body, headers={**extra, **(headers or {})})
        response = connection.getresponse()
        replayed = response.getheader("Idempotency-Replayed") == "true"
        return Reply(response.status, response.read(), replayed)
    finally:
        connection.close()


def query_style(action, account="LTAI-one", **parameters):
    """The parameters of a request in query style, signed by nobody."""
    return {
        "Action": action,
        "Version": "2014-08-28",
        "AccessKeyId": account,
        "SignatureNonce": nonce(),
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "Timestamp": "2026-01-01T00:00:00Z",
        "Signature": "AAAA",
        **parameters,
    }


def header_style(action, account="LTAI-one", used_nonce=None):
    """The headers of a request in header style, signed by nobody."""
    return {
        "x-acs-action": action,
        "x-acs-version": "2022-02-22",
        "x-acs-date": "2026-01-01T00:00:00Z",
        "x-acs-signature-nonce": used_nonce or nonce(),
        "x-acs-content-sha256": "00",
        "Authorization": f"ACS3-HMAC-SHA256 Credential={account},SignedHeaders=host;x-acs-action,Signature=00",
    }
