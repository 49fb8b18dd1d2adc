"""Goes through an agent's setup page as a technician who has never seen it: over HTTP, thinking at each screen.

Arguments: the page's port, and how many seconds each screen is looked at. A JSON line for each step, with the seconds
since the first screen.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import time
from http.cookies import SimpleCookie
from urllib.parse import urlencode

WORD = "correct horse 9"
PATIENCE_S = 120  # an emulated machine, whose interpreter needs seconds to begin
EVERY_S = 1.0  # as the page itself asks for its parts
NEW = re.compile(r'<li class="card new">.*?name="kind" value="(\w+)">.*?name="bind" value="([^"]+)"', re.DOTALL)


class Browser:
    """Keeps cookies, follows where it is sent, and gives each form its word."""

    def __init__(self, port: int):
        self._port = port
        self._cookies: dict[str, str] = {}
        self.text = ""

    def get(self, path: str) -> str:
        return self._ask("GET", path, "")

    def post(self, path: str, **form: str) -> str:
        """The form of the screen that is shown, filled in."""
        word = re.search(r'name="form_word" value="([0-9a-f]+)"', self.text)
        return self._ask("POST", path, urlencode({**form, "form_word": word[1] if word else ""}))

    def _ask(self, method: str, path: str, body: str) -> str:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        headers = {"Accept-Language": "en", "Cookie": "; ".join(f"{key}={each}" for key, each in self._cookies.items())}
        if method == "POST":
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{self._port}"}
        line.request(method, path, body, headers)
        answer = line.getresponse()
        text = answer.read().decode()
        for given in answer.headers.get_all("Set-Cookie") or []:
            self._cookies |= {name: each.value for name, each in SimpleCookie(given).items()}
        line.close()
        if answer.status in (302, 303):
            return self._ask("GET", str(answer.headers["Location"]), "")
        assert 200 == answer.status, f"{method} {path}: {answer.status} {text}"
        if not path.endswith(("/part", "/alive")):
            self.text = text
        return text


def main(port: int, think_s: float) -> None:
    browser = Browser(port)
    opened(browser)
    began_s = time.monotonic()

    def step(name: str, **more: str) -> None:
        print(json.dumps({"step": name, "at_s": round(time.monotonic() - began_s, 1), **more}), flush=True)

    def think() -> None:
        time.sleep(think_s)

    step("password")
    think()
    browser.post("/setup/password", word=WORD, again=WORD)
    step("name")
    think()
    browser.post("/setup/guide/name", agent="hall-pc-7", broker="later", do="next")
    step("looks")
    kind, bind = NEW.search(awaited(browser, "/setup/guide/device/part", "card new")).groups()  # type: ignore[union-attr]
    step("appeared", bind=bind)
    think()
    browser.post("/setup/guide/device", kind=kind, bind=bind)
    step("listens")
    awaited(browser, "/setup/guide/bytes/part", "reads-house")
    step("reads")
    think()
    device = re.search(r'name="device" value="(\w+)"', browser.get("/setup/guide/bytes"))
    browser.post("/setup/guide/bytes", do="profile", profile="house", device=device[1] if device else "")
    think()
    before = browser.get("/setup/alive")
    browser.post(
        "/setup/guide/bind", window="A03", device=re.findall(r'id="f-device".*?value="(\w*)"', browser.text)[0]
    )
    step("applied")
    while again(browser) in ("", before):
        time.sleep(0.25)
    step("restarted")
    browser.get("/setup/guide/try")
    awaited(browser, "/setup/guide/try/part", "It works")
    step("kept")


def opened(browser: Browser) -> None:
    """The first screen, once the agent serves it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            browser.get("/setup/")
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.25)


def again(browser: Browser) -> str:
    """What a page asks that waits for the restart; nothing while nobody answers."""
    try:
        return browser.get("/setup/alive")
    except OSError:
        return ""


def awaited(browser: Browser, part: str, words: str) -> str:
    """That part of the page, asked for again and again until it has these words."""
    deadline_s = time.monotonic() + PATIENCE_S
    while words not in (text := browser.get(part)):
        assert time.monotonic() < deadline_s, f"{part} never said {words!r}: {text}"
        time.sleep(EVERY_S)
    return text


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
