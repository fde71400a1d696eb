"""Slack's rules for a payload, and the texts in a payload that Slack could make active."""

import re

#: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
_TOP = {
    "text": str,
    "mrkdwn": bool,
    "parse": str,
    "unfurl_links": bool,
    "unfurl_media": bool,
    "blocks": list,
}


def faults(payload):
    """Why Slack would answer 400, or what would not stay plain; an empty list where all is well."""
    return [*_top(payload), *(fault for block in payload["blocks"] for fault in _block(block))]


def plain_texts(payload):
    """The texts of all `plain_text` objects, in order."""
    return [each["text"] for each in _objects(payload) if each.get("type") == "plain_text"]


def without_plain_texts(payload):
    """The payload with what stands in `plain_text` objects taken out."""
    if isinstance(payload, list):
        return [without_plain_texts(each) for each in payload]
    if not isinstance(payload, dict):
        return payload
    if payload.get("type") == "plain_text":
        return {**payload, "text": ""}
    return {key: without_plain_texts(each) for key, each in payload.items()}


def _top(payload):
    if {key: type(each) for key, each in payload.items()} != _TOP:
        yield f"keys or types: {payload.keys()}"
    if not 1 <= len(payload["text"]) <= 4000:
        yield "length of the text"
    if re.search(r"[<>*~`@]|&(?!(amp|lt|gt);)", payload["text"]):
        yield "active text"
    if (payload["mrkdwn"], payload["parse"]) != (False, "none"):
        yield "the text is parsed"
    if payload["unfurl_links"] or payload["unfurl_media"]:
        yield "links unfurl"
    if not 1 <= len(payload["blocks"]) <= 50:
        yield "number of blocks"


def _block(block):
    kind = block.get("type")
    if kind == "header" and block.keys() == {"type", "text"}:
        yield from _text(block["text"], 150)
    elif kind == "section" and block.keys() == {"type", "text"}:
        yield from _text(block["text"], 3000)
    elif kind == "section" and block.keys() == {"type", "fields"}:
        if not 1 <= len(block["fields"]) <= 10:
            yield "number of fields"
        for field in block["fields"]:
            yield from _text(field, 2000)
    else:
        yield f"no such block: {block}"


def _text(text, limit):
    if text.keys() != {"type", "text", "emoji"} or text["type"] != "plain_text":
        yield f"not plain: {text}"
    if text["emoji"] is not False:
        yield "emoji"
    if not isinstance(text["text"], str) or not text["text"].strip():
        yield "empty"
    if len(text["text"].encode("utf-16-le")) > 2 * limit:
        yield "too long"


def _objects(value):
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for child in children:
            yield from _objects(child)
