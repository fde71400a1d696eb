"""A small web application with a sign-up form. It sends a code by SMS, through a gateway.

    SMS_GATEWAY=http://127.0.0.1:8090/tellabot/rehearsal/messages python sign_up.py

It prints its address.
"""

import os
import secrets
import socket
from typing import Annotated

import httpx
import uvicorn
from litestar import Litestar, MediaType, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body

FORM = """<!doctype html><title>Acme</title>
<form method="post" action="/code"><label>Phone <input name="phone"></label>
<button>Send code</button></form>"""
CODE = """<!doctype html><title>Acme</title>
<form method="post" action="/account"><input type="hidden" name="phone" value="{phone}">
<label>Code <input name="code"></label><button>Sign up</button></form>
<form method="post" action="/code"><input type="hidden" name="phone" value="{phone}">
<button>Send again</button></form>"""
Fields = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]

gateway = httpx.AsyncClient(trust_env=False)
#: The newest code of each phone; older ones are not accepted.
codes = {}


@get("/", media_type=MediaType.HTML)
async def form() -> str:
    return FORM


@post("/code", media_type=MediaType.HTML)
async def send_code(data: Fields) -> str:
    phone = "+" + "".join(digit for digit in data["phone"] if digit.isdecimal())
    codes[phone] = f"{secrets.randbelow(10**6):06d}"
    text = f"{codes[phone]} is your Acme code."
    answer = await gateway.post(os.environ["SMS_GATEWAY"], json={"to": phone, "text": text})
    answer.raise_for_status()
    return CODE.format(phone=phone)


@post("/account", media_type=MediaType.HTML)
async def sign_up(data: Fields) -> str:
    right = secrets.compare_digest(codes.get(data["phone"], ""), data["code"])
    return "<h1>Welcome</h1>" if right else "<h1>Wrong code</h1>"


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)  # noqa: T201
    app = Litestar([form, send_code, sign_up])
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listening])
