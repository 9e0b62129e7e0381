"""A deliberately naive idempotency store: it checks whether a token is known, and then acts.

Between the two somebody else may do the same. It is here to show that `check_my_store` finds that out:
    cargo run --release --example check_my_store -- python3 examples/check_my_store/naive.py
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

NOW = 1_000_000
finished, held = {}, {}


def key_of(call):
    return json.dumps(call["key"])


def begin(call):
    key = key_of(call)
    known = finished.get(key)  # check ...
    time.sleep(0.001)  # (a round trip to a database)
    if known is not None:
        return {"replay": dict(known, omitted=None)}
    held[call["as"]] = key  # ... then act
    return {"fresh": {"attempt": 1, "since": NOW, "durable": False, "resumed": False, "last_checkpoint": None}}


def complete(call):
    outcome, key = call["outcome"], held.pop(call["reservation"])
    finished[key] = {"status": outcome.get("status"), "body": outcome["body"], "metadata": outcome.get("metadata", []),
                     "completed": NOW, "expires": NOW + 86_400_000, "attempts": 1}
    return {"kept": {"completed": NOW, "expires": NOW + 86_400_000}}


def release(call):
    held.pop(call["reservation"], None)
    return {"done": {}}


def get(call):
    known = finished.get(key_of(call))
    return {"finished": dict(known, omitted=None)} if known else {"absent": {}}


def forget(call):
    return {"forgotten": finished.pop(key_of(call), None) is not None}


CALLS = {"begin": begin, "complete": complete, "release": release, "drop": release, "get": get, "forget": forget}


def answer(call):
    word = call["do"]
    if word == "offers":
        return {"offers": []}
    if word == "woken":
        return {"woken": []}
    if word == "new":
        finished.clear(), held.clear()
        return {"done": {}}
    if word == "together":
        with ThreadPoolExecutor(max_workers=8) as threads:
            return {"together": list(threads.map(answer, call["calls"]))}
    return CALLS[word](call) if word in CALLS else {"unsupported": {}}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
