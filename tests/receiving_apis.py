"""Simulated APIs of other services: their checks and answers, errors included.

Each takes a request and returns status, headers and body, as its documentation says:
core.telegram.org/bots/api#sendmessage, docs.discord.com/developers/resources/webhook,
docs.ntfy.sh/publish/#publish-as-json, learn.microsoft.com/adaptive-cards/schema-explorer,
developer.pagerduty.com/docs/events-api-v2.
"""

import json
import re

from endpoint import reply

TYPED = "application/json"


def answering(api):
    """Return the answer of an endpoint that is one of these APIs."""

    async def answer(request, connection):
        status, headers, body = api(request)
        encoded = json.dumps(body).encode() if body is not None else b""
        await reply(status, encoded, headers=headers)(request, connection)

    return answer


def telegram(request):
    body = sent(request)
    if not re.fullmatch(r"/bot\d+:[\w-]+/sendMessage", request.target):
        return 404, {}, {"ok": False, "error_code": 404, "description": "Not Found"}
    text = body.get("text")
    faults = {
        "chat not found": not re.fullmatch(r"-?\d+|@\w+", str(body.get("chat_id"))),
        "message text is empty": not isinstance(text, str) or not text.strip(),
        "message is too long": units(str(text)) > 4096,
        "formats are read": body.keys() != {"chat_id", "text", "link_preview_options"},
        "a preview is made": body.get("link_preview_options") != {"is_disabled": True},
    }
    for fault, found in faults.items():
        if found:
            description = f"Bad Request: {fault}"
            return 400, {}, {"ok": False, "error_code": 400, "description": description}
    return 200, {}, {"ok": True, "result": {"message_id": 1, "text": text}}


def discord(request):
    body = sent(request)
    content, embeds = body.get("content"), body.get("embeds", [])
    if not re.fullmatch(r"/api/webhooks/\d+/[\w-]+(\?wait=true)?", request.target):
        return 404, {}, {"message": "Unknown Webhook", "code": 10015}
    texts = [(content, 2000)] if content is not None else []
    for embed in embeds:
        texts += [(embed["author"]["name"], 256), (embed["footer"]["text"], 2048)]
    if not texts:
        return 400, {}, {"message": "Cannot send an empty message", "code": 50006}
    fits = all(isinstance(text, str) and 1 <= units(text) <= limit for text, limit in texts)
    known = body.keys() <= {"content", "embeds", "allowed_mentions", "flags"}
    if not fits or not known or body.get("flags", 0) not in {0, 4}:
        return 400, {}, {"message": "Invalid Form Body", "code": 50035}
    if body.get("allowed_mentions") != {"parse": []}:
        return 400, {}, {"message": "mentions are allowed"}
    if request.target.endswith("?wait=true"):
        return 200, {}, {"id": "1", "content": content or ""}
    return 204, {}, None


def ntfy(request):
    body = sent(request)
    if request.target != "/":
        return 200, {}, {"message": "the JSON itself, as a text"}
    if not re.fullmatch(r"[-_A-Za-z0-9]{1,64}", body.get("topic", "")):
        return 400, {}, {"code": 40009, "http": 400, "error": "invalid request: topic invalid"}
    if request.headers.get("authorization") not in {None, "Bearer tk_secret"}:
        return 401, {}, {"code": 40101, "http": 401, "error": "unauthorized"}
    tags = body.get("tags", [])
    types = isinstance(body.get("message"), str | None) and isinstance(body.get("title"), str)
    if not types or not all(isinstance(tag, str) for tag in tags) or "markdown" in body:
        return 400, {}, {"code": 40024, "http": 400, "error": "invalid request: body not JSON"}
    if len(body["title"].encode()) > 1024 or body.get("priority", 3) not in range(1, 6):
        return 400, {}, {"code": 40007, "http": 400, "error": "invalid request"}
    return 200, {}, {"id": "x", "event": "message", "message": body.get("message") or "triggered"}


def teams(request):
    body = sent(request)
    [attachment] = body["attachments"]
    card = attachment["content"]
    runs = [run for block in card["body"] for run in block["inlines"]]
    faults = {
        "type": body["type"] != "message",
        "content type": attachment["contentType"] != "application/vnd.microsoft.card.adaptive",
        "card": (card["type"], card["version"]) != ("AdaptiveCard", "1.4"),
        "blocks": {block["type"] for block in card["body"]} != {"RichTextBlock"},
        "runs": {run["type"] for run in runs} != {"TextRun"},
        "texts": not all(isinstance(run["text"], str) and run["text"] for run in runs),
        "size": len(request.body) > 28 * 1024,
    }
    if any(faults.values()):
        return 400, {}, {"error": {"code": "InvalidRequest", "message": str(faults)}}
    return 202, {}, None


def pagerduty(request):
    body = sent(request)
    payload = body.get("payload", {})
    errors = [
        name
        for name, wrong in {
            "target": request.target != "/v2/enqueue",
            "routing_key": not re.fullmatch(r"\w{32}", str(body.get("routing_key"))),
            "event_action": body.get("event_action") not in {"trigger", "acknowledge", "resolve"},
            "dedup_key": not 1 <= len(body.get("dedup_key", "x")) <= 255,
            "summary": not is_text(payload.get("summary"), 1024),
            "source": not is_text(payload.get("source"), 1024),
            "severity": payload.get("severity") not in {"critical", "error", "warning", "info"},
            "custom_details": not isinstance(payload.get("custom_details", {}), dict),
        }.items()
        if wrong
    ]
    if errors:
        return 400, {}, {"status": "invalid event", "message": "invalid", "errors": errors}
    return 202, {}, {"status": "success", "message": "processed", "dedup_key": body["dedup_key"]}


def sent(request):
    assert request.method == "POST"
    assert request.headers["content-type"] == TYPED
    return json.loads(request.body)


def is_text(value, limit):
    return isinstance(value, str) and 1 <= len(value) <= limit


def units(text):
    return len(text.encode("utf-16-le")) // 2
