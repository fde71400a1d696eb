"""Open the web console in a browser that is signed in."""

import click

from .client import ApiClient
from .command import Command
from .connection import connection_options, find

_SCOPE = "events:read"


@click.command(cls=Command, example="console --print")
@click.option("--print", "only_print", is_flag=True, help="Print the link, and open no browser.")
@connection_options
def console(url: str | None, key: str | None, *, only_print: bool) -> None:
    """Open the web console in a browser that is signed in.

    The link works once, within a minute. It begins a session with the rights of the API key. The
    key itself does not reach the browser.
    """
    address = find(url, key, _SCOPE)
    with ApiClient(*address) as client:
        made = client.post("/console/tickets")
    begin = address.url.rstrip("/")
    # The browser sends no fragment: no log of a proxy has the ticket.
    link = f"{begin}{made['path']}#{made['ticket']}"
    if only_print or click.launch(link) != 0:
        click.echo("Open this link within a minute. It works once:", err=True)
        click.echo(link)
    else:
        click.echo(f"opened {begin}/console/ in a browser")
