"""Drives the example `scaling_groups` with the vendor's own client libraries.

`.ci/client` builds the example, installs the libraries and runs this. By hand:

    cargo build --release --example scaling_groups
    python3 -m venv .venv && .venv/bin/pip install -r tests/client/requirements.txt
    .venv/bin/pytest tests/client
"""

import json
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import service
from aliyunsdkcore.acs_exception.exceptions import ClientException
from service import Refused, call, client, create, create_request, groups, header_style, query_style, raw, sent, total

CALLERS = 64
KILLS = 10


@pytest.fixture
def server(tmp_path):
    server = service.Server(tmp_path / "store")
    yield server
    if server.process.poll() is None:
        server.stop()


def test_a_retry_with_a_new_nonce_and_timestamp_gets_the_first_answer_byte_for_byte(server):
    acs, request = client(), create_request(server, "token-1")
    answers, stamps = [], []
    for _ in range(3):
        answers.append(call(acs, request))
        stamps.append(sent(request))
        time.sleep(1.1)  # a timestamp has whole seconds
    assert answers[0] == answers[1] == answers[2]
    assert json.loads(answers[0])["ScalingGroupId"].startswith("asg-")
    assert len({nonce for nonce, _ in stamps}) == len({moment for _, moment in stamps}) == 3
    assert total(server, acs) == 1


def test_a_token_with_other_parameters_is_a_mismatch_and_the_honest_retry_still_gets_its_answer(server):
    acs = client()
    first = create(server, acs, "token-1")
    for changed in ({"MaxSize": 4}, {"MinSize": 2}, {"ScalingGroupName": "db"}, {"HealthCheckType": "NONE"}):
        refused = create(server, acs, "token-1", **changed)
        assert (refused.status, refused.code) == (400, "IdempotentParameterMismatch")
    assert create(server, acs, "token-1") == first
    assert create(server, acs, "Token-1") != first, "tokens are case-sensitive"
    assert total(server, acs) == 2


def test_of_64_simultaneous_callers_one_creates_and_all_get_its_answer(server):
    barrier = threading.Barrier(CALLERS)

    def caller(_):
        acs, request = client(), create_request(server, "token-1")
        barrier.wait()
        return call(acs, request)

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(caller, range(CALLERS)))
    assert set(answers) == {answers[0]}
    assert isinstance(answers[0], bytes)
    assert total(server, client()) == 1


def test_of_64_simultaneous_callers_with_two_requests_half_get_a_mismatch(server):
    barrier = threading.Barrier(CALLERS)

    def caller(number):
        acs, request = client(), create_request(server, "token-1", MaxSize=3 + number % 2)
        barrier.wait()
        return call(acs, request)

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(caller, range(CALLERS)))
    done = [answer for answer in answers if isinstance(answer, bytes)]
    refused = [(answer.status, answer.code) for answer in answers if isinstance(answer, Refused)]
    assert len(set(done)) == 1 and len(done) == CALLERS // 2
    assert refused == [(400, "IdempotentParameterMismatch")] * (CALLERS // 2)
    assert total(server, client()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ended_and_started_again_between_two_tries_gives_the_same_answer(server, number):
    acs = client()
    first = create(server, acs, "token-1")
    untokened = create(server, acs, None)
    before = groups(server, acs)
    server.restart(number)
    assert create(server, acs, "token-1") == first
    assert create(server, acs, "token-1", MaxSize=9).code == "IdempotentParameterMismatch"
    assert groups(server, acs) == before
    assert [json.loads(answer)["ScalingGroupId"] for answer in (first, untokened)] == [
        group["ScalingGroupId"] for group in before
    ]


def test_a_server_told_to_stop_ends_well(server):
    create(server, client(), "token-1")
    assert server.stop(signal.SIGTERM) == 0


def test_a_client_that_got_no_response_retries_and_there_is_one_group(server):
    hasty, patient = client(timeout=0.5), client()
    server.send(signal.SIGSTOP)
    with pytest.raises(ClientException):
        create(server, hasty, "token-1")
    server.send(signal.SIGCONT)
    first = create(server, patient, "token-1")
    assert isinstance(first, bytes)
    assert create(server, patient, "token-1") == first
    assert total(server, patient) == 1


def test_one_token_of_two_accounts_makes_two_groups_and_neither_sees_the_other(server):
    one, two = client("LTAI-one"), client("LTAI-two")
    answers = [create(server, acs, "token-1", ScalingGroupName=acs.get_access_key()) for acs in (one, two)]
    assert answers[0] != answers[1]
    for acs in (one, two):
        assert [group["ScalingGroupName"] for group in groups(server, acs)] == [acs.get_access_key()]


def test_a_request_without_token_runs_every_time(server):
    acs = client()
    assert create(server, acs, None) != create(server, acs, None)
    assert total(server, acs) == 2


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"MinSize": 5, "MaxSize": 3}, "InvalidParameter"),
        ({"MinSize": "many"}, "InvalidParameter"),
        ({"MinSize": ""}, "InvalidParameter"),
        ({"MinSize": "-1"}, "InvalidParameter"),
        ({"MaxSize": "99999999999999999999"}, "InvalidParameter"),
        ({"ScalingGroupName": "n" * 65}, "InvalidParameter"),
    ],
)
def test_a_final_refusal_is_replayed_and_a_corrected_request_needs_a_new_token(server, wrong, code):
    acs = client()
    first = create(server, acs, "token-1", **wrong)
    assert (first.status, first.code) == (400, code)
    assert create(server, acs, "token-1", **wrong) == first, "the request id tells a replay from a second run"
    server.restart()
    assert create(server, acs, "token-1", **wrong) == first
    assert create(server, acs, "token-1").code == "IdempotentParameterMismatch"
    assert isinstance(create(server, acs, "token-2"), bytes)
    assert total(server, acs) == 1


def test_a_missing_size_is_a_final_refusal(server):
    parameters = {"ClientToken": "token-1", "MinSize": 1}
    replies = [raw(server, "GET", query_style("CreateScalingGroup", **parameters)) for _ in range(2)]
    assert (replies[0].status, replies[0].code) == (400, "MissingParameter")
    assert replies[0].body == replies[1].body
    assert [reply.replayed for reply in replies] == [False, True]


@pytest.mark.parametrize("token", ["x" * 65, "jeton-é", "标记", ""])
def test_a_token_that_breaks_the_rule_is_refused_and_nothing_runs(server, token):
    acs = client()
    refused = create(server, acs, token)
    assert (refused.status, refused.code) == (400, "InvalidClientToken.ValueNotSupported")
    assert total(server, acs) == 0


def test_a_token_of_64_characters_is_taken(server):
    assert isinstance(create(server, client(), "x" * 64), bytes)


def test_get_and_post_and_query_and_form_are_the_same_request(server):
    acs, request = client(), create_request(server, "token-1")
    first = call(acs, request)
    request.set_method("GET")
    assert call(acs, request) == first

    form = create_request(server, "token-1")
    for name in ("MinSize", "MaxSize", "ScalingGroupName", "ClientToken"):
        form.add_body_params(name, form.get_query_params().pop(name))
    assert call(acs, form) == first
    assert total(server, acs) == 1


def test_a_nonce_is_taken_once_in_its_account(server):
    parameters = query_style("CreateScalingGroup", MinSize=1, MaxSize=2)
    assert raw(server, "POST", parameters).status == 200
    again = raw(server, "POST", parameters)
    assert (again.status, again.code) == (400, "SignatureNonceUsed")
    reading = {**query_style("DescribeScalingGroups"), "SignatureNonce": parameters["SignatureNonce"]}
    assert raw(server, "GET", reading).code == "SignatureNonceUsed"
    assert raw(server, "GET", {**reading, "AccessKeyId": "LTAI-two"}).status == 200

    server.restart()
    assert raw(server, "POST", parameters).code == "SignatureNonceUsed", "it alone stops a second group"
    assert total(server, client()) == 1


def test_a_nonce_is_taken_also_where_64_send_it_at_once(server):
    parameters = query_style("CreateScalingGroup", MinSize=1, MaxSize=2)
    barrier = threading.Barrier(CALLERS)

    def caller(_):
        barrier.wait()
        return raw(server, "POST", parameters).status

    with ThreadPoolExecutor(CALLERS) as pool:
        statuses = sorted(pool.map(caller, range(CALLERS)))
    assert statuses == [200] + [400] * (CALLERS - 1)
    assert total(server, client()) == 1


def test_header_style_is_understood_bare_and_from_the_newer_sdk(server):
    from alibabacloud_ess20220222.client import Client
    from alibabacloud_ess20220222.models import CreateScalingGroupRequest, DescribeScalingGroupsRequest
    from alibabacloud_tea_openapi.models import Config

    endpoint = f"127.0.0.1:{server.port}"
    newer = Client(
        Config(
            access_key_id="LTAI-one",
            access_key_secret=service.SECRET,
            region_id=service.REGION,
            endpoint=endpoint,
            protocol="http",
        )
    )
    request = CreateScalingGroupRequest(
        min_size=1, max_size=3, scaling_group_name="wéb", client_token="token-1", region_id=service.REGION
    )
    first = newer.create_scaling_group(request).body
    assert newer.create_scaling_group(request).body.to_map() == first.to_map()

    parameters = {
        "MinSize": 1, "MaxSize": 3, "ScalingGroupName": "wéb", "ClientToken": "token-1", "RegionId": service.REGION,
    }  # fmt: skip
    for method, query, form in (("POST", parameters, None), ("GET", parameters, None), ("POST", {}, parameters)):
        reply = raw(server, method, query, form=form, headers=header_style("CreateScalingGroup"))
        assert (reply.status, reply.replayed) == (200, True)
        assert reply.json == first.to_map()

    listed = newer.describe_scaling_groups(DescribeScalingGroupsRequest(region_id=service.REGION)).body
    assert (listed.total_count, listed.scaling_groups[0].scaling_group_name) == (1, "wéb")

    headers = header_style("DescribeScalingGroups")
    assert raw(server, "GET", {}, headers=headers).status == 200
    assert raw(server, "GET", {}, headers=headers).code == "SignatureNonceUsed"


def test_what_no_client_sends_is_refused_and_the_server_goes_on(server):
    def refused(reply):
        return reply.status, reply.code

    assert refused(raw(server, "GET", {})) == (400, "MissingParameter")
    assert refused(raw(server, "GET", {"AccessKeyId": "a"})) == (400, "MissingParameter")
    assert refused(raw(server, "GET", query_style("DeleteEverything"))) == (404, "InvalidApi.NotFound")
    assert refused(raw(server, "PUT", query_style("DescribeScalingGroups"))) == (400, "UnsupportedHTTPMethod")
    assert refused(raw(server, "GET", query_style("DescribeScalingGroups", PageSize=51))) == (400, "InvalidParameter")
    twice = [*query_style("CreateScalingGroup").items(), ("ClientToken", "a"), ("ClientToken", "b")]
    assert refused(raw(server, "GET", twice)) == (400, "InvalidParameter")
    assert raw(server, "POST", query_style("DescribeScalingGroups"), form={"a": "x" * 70_000}).status == 413
    for name in ("Authorization", "x-acs-action", "x-acs-signature-nonce", "Content-Type"):
        reply = raw(server, "POST", query_style("DescribeScalingGroups"), form={"a": 1}, headers={name: b"\xff\xfe"})
        assert reply.status in (200, 400), name

    noise = random.Random(1)
    for line in (b"\x16\x03\x01\x02\x00", b"GET", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nx", b"\r\n" * 99):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(line + noise.randbytes(noise.randrange(200)))
    assert total(server, client()) == 0
    assert server.process.poll() is None


def test_killed_under_load_every_answered_group_exists_once_and_no_token_makes_two(server):
    """Goal: nothing answered is lost and nothing is doubled, wherever between effect and record a kill falls.

    Method: eight callers create groups under tokens of their own until the server is killed at a random moment. It
    is started again, and every token that was ever tried is tried once more: answered ones have to get the same
    bytes, the others an answer. Then there are as many groups as tokens.
    """
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    answered, tried = {}, set()

    def caller(kill, number):
        acs = client(timeout=5)
        for count in range(10_000):
            token = f"kill-{kill}-{number}-{count}"
            tried.add(token)
            try:
                answered[token] = create(server, acs, token, ScalingGroupName=token)
            except ClientException:
                return

    for kill in range(KILLS):
        with ThreadPoolExecutor(8) as pool:
            callers = [pool.submit(caller, kill, number) for number in range(8)]
            time.sleep(chance.uniform(0.05, 0.4))
            server.stop()
            for one in callers:
                one.result()
        server.start()
        acs = client()
        answers = {token: create(server, acs, token, ScalingGroupName=token) for token in tried}
        lost = [token for token in answered if answers[token] != answered[token]]
        assert not lost, f"seed {seed}, kill {kill}"
        found = [group["ScalingGroupId"] for group in groups(server, acs)]
        expected = [json.loads(answer)["ScalingGroupId"] for answer in answers.values()]
        assert sorted(found) == sorted(expected), f"seed {seed}, kill {kill}"
        answered.update(answers)
    assert len(answered) > KILLS, "the load was real"
