"""Lines of the audit log in the words of other tools: ECS, OCSF and CEF."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any, NamedTuple

#: Writes a line for another tool. Takes the fields of the line and the origin of its log.
Write = Callable[[Mapping[str, Any], str], str]

#: https://elastic.co/docs/reference/ecs
_ECS_VERSION = "8.11.0"
#: https://schema.ocsf.io/1.4.0
_OCSF_VERSION = "1.4.0"
_PRODUCT = "smshook"
#: Ends of actions of what did not succeed, and outcomes.
_FAILED = frozenset({"refused", "rejected", "failing", "dead", "expired", "error", "failed"})
_FAILED_OUTCOMES = _FAILED | {"changed"}
_OTHER = 99


class _Kind(NamedTuple):
    """The place of an action in the two classifications."""

    category: str  # ECS
    type: str  # ECS
    class_uid: int  # OCSF
    activity_id: int  # OCSF
    activity: str  # OCSF


_START = _Kind("authentication", "start", 3002, 1, "Logon")
_END = _Kind("authentication", "end", 3002, 2, "Logoff")
_ACCESS = _Kind("database", "access", 6005, 1, "Read")
_MADE = _Kind("iam", "creation", 3001, 1, "Create")
_DELETED = _Kind("iam", "deletion", 3001, 6, "Delete")
_ACCOUNT = _Kind("iam", "change", 3001, _OTHER, "Other")
_CREATED = _Kind("configuration", "change", 6003, 1, "Create")
_CHANGED = _Kind("configuration", "change", 6003, 3, "Update")
_DESTROYED = _Kind("configuration", "change", 6003, 4, "Delete")
_NETWORK = _Kind("network", "connection", 6003, _OTHER, "Other")
_DATA = _Kind("database", "change", 6003, _OTHER, "Other")
_RUNNING = _Kind("process", "info", 6003, _OTHER, "Other")
#: By action, else by the part before its dot.
_KINDS: Mapping[str, _Kind] = {
    "session": _START,
    "session.closed": _END,
    "code": _ACCESS,
    "stream": _ACCESS,
    "key": _ACCOUNT,
    "key.made": _MADE,
    "key.revoked": _DELETED,
    "subscription": _ACCOUNT,
    "subscription.made": _MADE,
    "subscription.deleted": _DELETED,
    "config": _CHANGED,
    "sink": _CHANGED,
    "source.tested": _CHANGED,
    "source.url_read": _ACCESS,
    "seal": _CHANGED,
    "seal.made": _CREATED,
    "seal.destroyed": _DESTROYED,
    "callback": _NETWORK,
    "delivery": _NETWORK,
    "service": _RUNNING,
    "clock": _RUNNING,
    "journal": _RUNNING,
    "audit": _RUNNING,
}


def to_ecs(leaf: Mapping[str, Any], origin: str) -> str:
    """Return a line as a document of the Elastic Common Schema: JSON.

    Fields that ECS has no name for are under `smshook`.
    """
    kind = _kind(leaf["do"])
    document: dict[str, Any] = {
        "@timestamp": leaf["at"],
        "ecs": {"version": _ECS_VERSION},
        "event": {
            "action": leaf["do"],
            "kind": "event",
            "category": [kind.category],
            "type": [kind.type],
            "outcome": "failure" if _has_failed(leaf) else "success",
            "sequence": leaf["n"],
            "dataset": "smshook.audit",
        },
        "smshook": {"origin": origin},
    }
    for name, value in _others(leaf):
        match name:
            case "by":
                document["user"] = {"name": value}
            case "from" if _is_address(value):
                document["source"] = {"ip": value}
            case "reason":
                document["event"]["reason"] = value
            case "event":
                document["smshook"]["event"] = {"id": value}
            case _:
                document["smshook"][name] = value
    return _json(document)


def to_ocsf(leaf: Mapping[str, Any], origin: str) -> str:
    """Return a line as an event of the Open Cybersecurity Schema Framework: JSON.

    Fields that OCSF has no name for are under `unmapped`.
    """
    kind = _kind(leaf["do"])
    failed = _has_failed(leaf)
    event: dict[str, Any] = {
        "time": _milliseconds(leaf["at"]),
        "category_uid": kind.class_uid // 1000,
        "class_uid": kind.class_uid,
        "activity_id": kind.activity_id,
        "activity_name": leaf["do"] if kind.activity_id == _OTHER else kind.activity,
        "type_uid": kind.class_uid * 100 + kind.activity_id,
        "severity_id": 1,
        "status_id": 2 if failed else 1,
        "status": "Failure" if failed else "Success",
        "metadata": {
            "version": _OCSF_VERSION,
            "product": {"name": _PRODUCT, "vendor_name": _PRODUCT},
            "event_code": leaf["do"],
            "sequence": leaf["n"],
            "log_name": origin,
        },
    }
    for name, value in _others(leaf):
        match name:
            case "by":
                event["actor"] = {"user": {"name": value}}
            case "from" if _is_address(value):
                event["src_endpoint"] = {"ip": value}
            case "reason":
                event["message"] = value
            case "event" | "sink" | "source":
                event.setdefault("resources", []).append({"uid": value, "type": name})
            case _:
                event.setdefault("unmapped", {})[name] = value
    return _json(event)


def to_cef(leaf: Mapping[str, Any], origin: str) -> str:
    """Return a line in the Common Event Format, version 0. Only fields with a CEF name are kept."""
    do = leaf["do"]
    extension: dict[str, Any] = {
        "rt": _milliseconds(leaf["at"]),
        "externalId": leaf["n"],
        "deviceExternalId": origin,
        "outcome": "failure" if _has_failed(leaf) else "success",
    }
    names = {"by": "suser", "from": "src", "reason": "reason"}
    extension |= {cef: leaf[ours] for ours, cef in names.items() if leaf.get(ours) is not None}
    if not _is_address(leaf.get("from")):
        extension.pop("src", None)
    for number, ours in enumerate(("event", "sink", "source"), start=1):
        if leaf.get(ours) is not None:
            extension |= {f"cs{number}Label": ours, f"cs{number}": leaf[ours]}
    severity = 6 if _has_failed(leaf) else 3
    fields = " ".join(f"{name}={_escaped(value)}" for name, value in extension.items())
    return f"CEF:0|{_PRODUCT}|{_PRODUCT}|1|{do}|{do}|{severity}|{fields}"


#: By name of the form.
FORMATS: Mapping[str, Write] = {"ecs": to_ecs, "ocsf": to_ocsf, "cef": to_cef}


def _kind(do: str) -> _Kind:
    return _KINDS.get(do) or _KINDS.get(do.partition(".")[0], _DATA)


def _has_failed(leaf: Mapping[str, Any]) -> bool:
    return leaf["do"].rpartition(".")[2] in _FAILED or leaf.get("outcome") in _FAILED_OUTCOMES


def _others(leaf: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in leaf.items() if name not in {"n", "at", "do"}]


def _is_address(value: object) -> bool:
    """Return whether `from` is one address: `*` stands for several.

    Elastic drops a document if its `source.ip` is not an address.
    """
    try:
        ip_address(str(value))
    except ValueError:
        return False
    return True


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)


def _escaped(value: object) -> str:
    r"""Return a value of a CEF extension; backslashes, `=` and line breaks are escaped.

    CEF has `\r` and `\n` only. `\n` stands for the others, at which readers may end a line, too.
    """
    escaped = re.sub(r"[\\=]", r"\\\g<0>", str(value)).replace("\r", r"\r")
    return re.sub(r"[\n\v\f\x1c-\x1e\x85\u2028\u2029]", r"\\n", escaped)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
