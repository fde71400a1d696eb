"""Write the table of docs/service-keys.md from the tables in the code. Run by `make docs`."""

from collections.abc import Iterator
from pathlib import Path

from core.services import former_keys
from receiver.fields.services import service
from receiver.providers.sms_activate.profiles import SmsActivate

PAGE = Path(__file__).parents[1] / "service-keys.md"
_BEGIN = "| former key |"


def page() -> str:
    """Return the page as it should be: its text, then the table."""
    return PAGE.read_text(encoding="utf-8").partition(_BEGIN)[0] + "\n".join(_table()) + "\n"


def _table() -> Iterator[str]:
    yield f"{_BEGIN} key now | name now | id in the SMS-Activate dialect | name in its list |"
    yield "|---|---|---|---|---|"
    listed = {id_: service(id_, row) for id_, row in SmsActivate.services.items()}
    for former, key in former_keys():
        of_key = {id_: found for id_, found in listed.items() if found and found.key == key}
        names = dict.fromkeys(found.name for found in of_key.values() if found.name)
        theirs = dict.fromkeys(SmsActivate.services[id_].listed for id_ in of_key)
        ids = ", ".join(f"`{id_}`" for id_ in of_key)
        cells = (f"`{former}`", f"`{key}`", " / ".join(names), ids, " / ".join(theirs))
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
