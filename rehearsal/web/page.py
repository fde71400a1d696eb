"""The page where a person takes numbers, sends messages and faults, and sees what they become."""

from html import escape
from typing import get_args
from urllib.parse import quote

import msgspec

from ..account import Fate, Fault
from ..exchange import Answer
from ..simulation import Simulation
from .beside import Beside

#: The path of the control; the provider itself has nothing below it.
BEGIN = "/rehearsal/"
#: That of the console, without its images and forms: only files of this address may load, nothing
#: inline runs, and no text becomes HTML.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the page of a simulation is."""

    #: The name of its source; empty if it is the only one.
    name: str = ""
    #: The names of all simulations.
    names: tuple[str, ...] = ()
    beside: Beside


_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}, simulated - smshook</title>
<link rel="stylesheet" href="page.css">
<script src="page.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header>
<span class="name">smshook</span>
{links}
</header>
<main id="content" tabindex="-1">
<div id="said" role="status"></div>
<h1>{name}, simulated</h1>
<h2>Take a number</h2>
<form class="filters" data-post="orders">
<label>Service<input name="service" placeholder="{service}" autocomplete="off"></label>
{kinds}
</form>
<h2>Send a message</h2>
<form class="filters" id="message">
<label>Text<input name="text" placeholder="a random code" autocomplete="off"></label>
<label>From<input name="from" placeholder="22000" autocomplete="off"></label>
</form>
{numbers}
<h2>Add a fault</h2>
<form class="filters" data-post="faults">
<label>Fault<select name="fault">{fates}</select></label>
<label>Times<input type="number" name="times" min="1" value="1" required></label>
<label>Seconds<input type="number" name="seconds" min="0" value="5" required></label>
<button>Add</button>
</form>
{faults}
{seen}<h2>Messages</h2>
{messages}
</main>
</body>
</html>
"""
_SEEN = """<div class="plots">
<section aria-labelledby="events-title">
<h2 id="events-title">Events</h2>
<p id="no-events" hidden>No events yet.</p>
<ul class="strip" id="events"></ul>
<template id="event"><li class="box"><h3><a></a></h3><p><time></time></p></li></template>
</section>
<section aria-labelledby="log-title">
<h2 id="log-title">Log</h2>
<pre id="log">No lines yet.</pre>
</section>
</div>
"""
_SCRIPT = """"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const say = (text) => {
    const line = document.createElement("p");
    line.textContent = text;
    $("said").replaceChildren(line);
  };
  const SILENT = "The simulated provider does not answer. Does the command still run?";
  // The page is loaded again after each act. The focus comes back.
  const DONE = "smshook-done", nameOf = (button) => button.ariaLabel || button.textContent;
  const act = async (button, method, path, body) => {
    const headers = { "Content-Type": "application/json" };
    try {
      const answer = await fetch(path, { method, headers, body: JSON.stringify(body) });
      if (!answer.ok) return say((await answer.json()).error);
      sessionStorage.setItem(DONE, nameOf(button));
      location.reload();
    } catch { say(SILENT); }
  };
  const done = sessionStorage.getItem(DONE);
  if (done) {
    sessionStorage.removeItem(DONE);
    say(`Done: ${done}`);
    const buttons = [...document.querySelectorAll("button")];
    (buttons.find((one) => nameOf(one) === done) || $("content")).focus();
  }
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    const { target: form, submitter } = event, body = {};
    for (const [name, text] of new FormData(form, submitter)) {
      if (text) body[name] = form.elements[name].type === "number" ? Number(text) : text;
    }
    act(submitter, "POST", submitter.dataset.post || form.dataset.post, body);
  });
  document.addEventListener("click", ({ target }) => {
    if (target.dataset.delete) act(target, "DELETE", target.dataset.delete);
  });

  const SYMBOLS = { ok: "●", wait: "◆", bad: "▲" };
  const show = ({ at, words, url, deliveries }) => {
    const box = $("event").content.firstElementChild.cloneNode(true);
    const link = box.querySelector("a"), time = box.querySelector("time");
    link.textContent = words;
    if (url) link.href = url;
    time.dateTime = time.title = at;
    time.textContent = new Date(at).toLocaleTimeString();
    for (const { kind, words } of deliveries) {
      const line = document.createElement("p"), state = document.createElement("span");
      state.className = `state ${kind}`;
      state.textContent = `${SYMBOLS[kind]} ${words}`;
      line.append(state);
      box.append(line);
    }
    return box;
  };
  let last = "", isSilent = false;
  const look = async () => {
    const events = $("events");
    if (document.hidden || events.contains(document.activeElement)) return;
    const text = await fetch("seen").then((answer) => answer.text(), () => null);
    if (isSilent !== (text === null)) {
      isSilent = text === null;
      say(isSilent ? SILENT : "It answers again.");
    }
    if (isSilent || text === last) return;
    last = text;
    const seen = JSON.parse(text);
    events.replaceChildren(...seen.events.map(show));
    $("no-events").hidden = seen.events.length > 0;
    if (seen.log.length) $("log").textContent = seen.log.join("\\n");
  };
  const again = () => look().finally(() => setTimeout(again, 1000));
  if ($("events")) again();
})();
"""


def page(simulation: Simulation, place: Place) -> Answer:
    provider, account = simulation.provider, simulation.account
    orders = []
    for order in reversed(account.orders.values()):
        path = escape(f"orders/{quote(order.id, safe='')}/messages")
        label = escape(f"Send a message to {order.number or order.id}")
        button = f'<button form="message" data-post="{path}" aria-label="{label}">'
        texts = (order.id, order.kind, order.number or "(awaited)", order.service, order.status)
        orders.append(_row(*texts, more=f"<td>{button}Send a message</button>"))
    messages = [
        _row(f"{it.at:%H:%M:%S}", it.to, it.from_, it.text, it.code)
        for it in reversed(account.messages)
    ]
    text = _HTML.format(
        name=escape(place.name or provider.name),
        links=_links(place),
        service=escape(provider.service),
        kinds="\n".join(
            f'<button name="kind" value="{escape(kind)}">Take: {escape(kind)}</button>'
            for kind in provider.kinds
        ),
        numbers=_table("Numbers", ("Id", "Kind", "Number", "Service", "Status", "Send"), orders),
        fates="".join(f"<option>{fate}" for fate in get_args(Fate)),
        faults=_faults(account.faults),
        seen=_SEEN if place.beside.seen else "",
        messages=_table("Messages", ("At (UTC)", "To", "From", "Text", "Code"), messages),
    )
    return _file("text/html; charset=utf-8", text)


def _links(place: Place) -> str:
    """Return the links to all providers and to the console."""
    items = []
    for name in place.names:
        here = ' aria-current="page"' if name == place.name else ""
        address = f"../../{quote(name, safe='')}{BEGIN}"
        items.append(f'<li><a href="{address}"{here}>{escape(name)}</a>')
    if place.beside.console:
        items.append(f'<li><a href="{escape(place.beside.console)}">Console</a>')
    return f'<nav aria-label="Pages"><ul>{"".join(items)}</ul></nav>' if items else ""


def _faults(faults: list[Fault]) -> str:
    if not faults:
        return ""
    texts = [
        f"{it.fault}, {'until removed' if it.times is None else f'{it.times} more times'}"
        for it in faults
    ]
    return (
        f"<p>Next: {escape('; '.join(texts))} "
        '<button type="button" data-delete="faults">Remove all</button></p>'
    )


def script() -> Answer:
    return _file("text/javascript; charset=utf-8", _SCRIPT)


def style(beside: Beside) -> Answer:
    return _file("text/css; charset=utf-8", beside.style)


def _file(content_type: str, text: str) -> Answer:
    return Answer(content_type=content_type, body=text.encode(), headers=_HEADERS)


def _table(name: str, head: tuple[str, ...], rows: list[str]) -> str:
    if not rows:
        return f"<p>No {name.lower()} yet.</p>"
    titles = "".join(f'<th scope="col">{title}' for title in head)
    lines = "\n".join(rows)
    return (
        f'<div class="frame" role="region" aria-label="{name}" tabindex="0">\n<table>\n'
        f"<thead><tr>{titles}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>\n</div>"
    )


def _row(*texts: str, more: str = "") -> str:
    cells = "".join(f"<td>{escape(text)}" for text in texts)
    return f"<tr>{cells}{more}</tr>"
