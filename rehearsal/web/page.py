"""The page that shows numbers and messages, and sends one on a click."""

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from ..exchange import Answer
from ..simulation import Simulation

#: The path of the control; the provider itself has nothing below it.
BEGIN = "/rehearsal/"
#: Only files of this address may load, and the page has no inline script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
)
_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{name}, simulated</title>
<link rel="stylesheet" href="page.css">
<script src="page.js" defer></script>
<h1>{name}, simulated</h1>
<p>{kinds}
<label>Text: <input id="text" placeholder="made up if empty"></label>
<p id="said" role="status"></p>
<h2>Numbers</h2>
<table><tr><th>id<th>kind<th>number<th>service<th>status<th></tr>
{orders}
</table>
<h2>Messages</h2>
<table><tr><th>at<th>to<th>from<th>text<th>code</tr>
{messages}
</table>
</html>
"""
_INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Simulated providers</title>
<h1>Simulated providers</h1>
<p>Take a number and send it a message:
<ul>
{links}
</ul>
</html>
"""
_SCRIPT = """"use strict";
const text = document.getElementById("text");
for (const button of document.querySelectorAll("[data-post]")) {
  button.addEventListener("click", async () => {
    const ordering = button.dataset.post === "orders";
    const answer = await fetch(button.dataset.post, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify(ordering ? {kind: button.dataset.kind} : {text: text.value || null}),
    });
    if (answer.ok) {
      location.reload();
    } else {
      document.getElementById("said").textContent = (await answer.json()).error;
    }
  });
}
"""
_STYLE = """body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem; }
table { border-collapse: collapse; }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
"""


def page(simulation: Simulation) -> Answer:
    account = simulation.account
    orders = []
    for order in reversed(account.orders.values()):
        place = escape(f"orders/{quote(order.id, safe='')}/messages")
        button = f'<td><button data-post="{place}">Send a message</button>'
        texts = (order.id, order.kind, order.number or "(awaited)", order.service, order.status)
        orders.append(_row(*texts, more=button))
    text = _HTML.format(
        name=escape(simulation.provider.name),
        kinds="\n".join(
            f'<button data-post="orders" data-kind="{escape(kind)}">Take: {escape(kind)}</button>'
            for kind in simulation.provider.kinds
        ),
        orders="\n".join(orders),
        messages="\n".join(
            _row(f"{it.at:%H:%M:%S}", it.to, it.from_, it.text, it.code)
            for it in reversed(account.messages)
        ),
    )
    return _file("text/html; charset=utf-8", text)


def index(names: Iterable[str]) -> Answer:
    """Return the list of several simulations."""
    links = "\n".join(
        f'<li><a href="{quote(name, safe="")}{BEGIN}">{escape(name)}</a>' for name in names
    )
    return _file("text/html; charset=utf-8", _INDEX.format(links=links))


def script() -> Answer:
    return _file("text/javascript; charset=utf-8", _SCRIPT)


def style() -> Answer:
    return _file("text/css; charset=utf-8", _STYLE)


def _file(content_type: str, text: str) -> Answer:
    return Answer(content_type=content_type, body=text.encode(), headers=_HEADERS)


def _row(*texts: str, more: str = "") -> str:
    cells = "".join(f"<td>{escape(text)}" for text in texts)
    return f"<tr>{cells}{more}</tr>"
