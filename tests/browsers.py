"""A headless Chromium for tests of the console, and the accessibility checker axe in it."""

import contextlib
import json
import shutil

import screenshots
import tools
from consoles import KEYS

#: The first one that is installed. Without windows, the shell does a third of the work for a page.
PROGRAMS = ("chromium-headless-shell", "chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
PHONE, SCREEN = {"width": 320, "height": 740}, {"width": 1280, "height": 800}
#: Rules of axe that see colours, and those that see sizes, too. The others see what a page has:
#: that is the same in each look.
COLOURS = ("color-contrast", "link-in-text-block")
LAYOUT = (*COLOURS, "scrollable-region-focusable")
AXE = tools.JAVASCRIPT / "node_modules/axe-core/axe.min.js"
#: Reports each violation of the policy to the console, which `Tab.seen` collects.
WATCH = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`))"""


def program():
    """Return the path of a Chromium. Skip the test if there is none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    tools.require([] if found else [f"no {PROGRAMS[0]}"])
    return found


@contextlib.contextmanager
def chromium():
    """Yield a Browser. Skip the test if there is none."""
    tools.require(tools.missing_for_javascript("axe-core"))
    path = program()
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - most tests do without it

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield Browser(started)
        # Those of failed tests are still open.
        screenshots.OPEN.clear()
        started.close()


class Browser:
    """A browser that several tests share."""

    def __init__(self, started):
        self._started = started

    def tab(self, service, key=None, *, phone=False, dark=False, **named):
        """Open a tab in a context of its own, signed in with a key; None: signed out."""
        context = self._started.new_context(
            base_url=service.admin_url,
            viewport=PHONE if phone else SCREEN,
            color_scheme="dark" if dark else "light",
            **named,
        )
        return Tab(context, service, key)


class Tab:
    """A tab. `page` is that of Playwright."""

    def __init__(self, context, service, key):
        self._context, self.service = context, service
        #: Errors, dialogs and violations of the policy. Tests that expect some remove them.
        self.seen = []
        #: All that the page wrote to its console.
        self.said = []
        context.add_init_script(WATCH)
        self.page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        self.page.on("console", self._said)
        self.page.on("dialog", self._dialog)
        screenshots.OPEN.append(self)
        if key is not None:
            self.sign_in(key)

    def _said(self, message):
        self.said.append(f"{message.type}: {message.text}")
        if message.type in ("error", "warning"):
            self.seen.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog):
        self.seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def sign_in(self, key):
        self.page.goto("/console/login")
        self.page.get_by_label("API key").fill(KEYS[key].key.reveal())
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/console/")

    def goto(self, path):
        """Open a page below `/console`; return the page of Playwright."""
        self.page.goto(f"/console{path}")
        return self.page

    def look(self, *, phone, dark):
        """Change the screen and the colours."""
        self.page.set_viewport_size(PHONE if phone else SCREEN)
        self.page.emulate_media(color_scheme="dark" if dark else "light")

    def findings(self, *rules):
        """Return what axe finds on the page: each rule with its elements. `rules`: only these."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found = self.page.evaluate("(options) => axe.run(document, options)", options)
        return [
            (rule["id"], [node["html"][:200] for node in rule["nodes"]])
            for rule in found["violations"]
        ]

    def faults(self, *, whole=False):
        """Return what axe finds on this page: light, dark, and on a phone, which it shows then.

        And by how many pixels the page is too wide. `whole`: check every rule in each look, and not
        only those that see it.
        """
        self.look(phone=False, dark=False)
        found = [self.findings(), self.overflow()]
        self.look(phone=False, dark=True)
        found += [self.findings(*(() if whole else COLOURS))]
        self.look(phone=True, dark=False)
        found += [self.findings(*(() if whole else LAYOUT)), self.overflow()]
        return [fault for fault in found if fault]

    def overflow(self):
        """Return by how many pixels the page is wider than the screen."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def picture(self):
        """Return a screenshot. It is empty if the browser makes none."""
        try:
            png = self.page.screenshot(full_page=True, timeout=5_000)
        except Exception as exc:  # noqa: BLE001 - the page may be what has failed
            png = b""
            self.said.append(f"no screenshot: {exc}")
        return screenshots.Picture(self.page.url, png, tuple(self.said))

    def close(self):
        screenshots.OPEN.remove(self)
        if self.seen:
            screenshots.CLOSED.append(self.picture())
        self._context.close()
        assert [] == self.seen, json.dumps(self.seen, indent=2)
