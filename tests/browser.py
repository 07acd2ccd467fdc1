"""A headless Chromium, spoken to through its DevTools pipe: JSON between zero bytes on descriptors 3 and 4.

Neither a driver nor a port: what opens is a file, and what it asks the network for is written down.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
WHY_NOT = "no Chromium to open pages with (apt install chromium)"
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "--hide-scrollbars"),
)
_DOMAINS = ("Page", "Runtime", "Network", "Log")
_BETWEEN = b"\0"
_KEYS = {"Tab": 9, "Enter": 13}


class Browser:
    """One page at a time. asked: addresses that it wanted; complaints: what its console said."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, fro: int) -> None:
        self._process, self._to, self._fro = process, to, fro
        self._numbers, self._rest, self._page = itertools.count(1), b"", ""
        self._seen: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._page = attached["sessionId"]
        for domain in _DOMAINS:
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A command's result; what happens meanwhile is kept."""
        number = next(self._numbers)
        plain = {"id": number, "method": method, "params": params}
        plain |= {"sessionId": self._page} if self._page else {}
        os.write(self._to, json.dumps(plain).encode() + _BETWEEN)
        while (told := self._next()).get("id") != number:
            self._seen.append(told)
        assert "error" not in told, f"{method}: {told['error']}"
        return told["result"]

    def open(self, path: Path, width: int = 1280) -> None:
        """The page of this file, loaded and drawn."""
        self._seen.clear()
        self.wide(width)
        self.ask("Page.navigate", url=path.as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self._seen):
            self._seen.append(self._next())
        self.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")

    def wide(self, width: int) -> None:
        """A window of so many pixels."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)

    def scheme(self, name: str, media: str = "") -> None:
        """`dark` or `light`; media: `print` for paper."""
        wanted = [{"name": "prefers-color-scheme", "value": name}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=wanted)

    def run(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        told = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        plain = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **plain, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **plain)

    def type(self, text: str) -> None:
        """A text into what has the focus."""
        self.ask("Input.insertText", text=text)

    def paper(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.ask("Page.printToPDF", preferCSSPageSize=True)["data"])

    @property
    def asked(self) -> list[str]:
        """Every address since the page was opened."""
        sent = (one for one in self._seen if one.get("method") == "Network.requestWillBeSent")
        return [one["params"]["request"]["url"] for one in sent]

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of the page since it was opened."""
        return [
            json.dumps(one["params"])
            for one in self._seen
            if one.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}
            or (one.get("method"), one.get("params", {}).get("type"))
            in {("Runtime.consoleAPICalled", "error"), ("Runtime.consoleAPICalled", "warning")}
        ]

    def _next(self) -> dict[str, Any]:
        while _BETWEEN not in self._rest:
            part = os.read(self._fro, 1 << 20)
            assert part, f"Chromium has ended with {self._process.poll()}"
            self._rest += part
        line, _, self._rest = self._rest.partition(_BETWEEN)
        return json.loads(line)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in a folder, gone when the block ends."""
    assert CHROMIUM, WHY_NOT
    theirs, to = os.pipe()
    fro, ours = os.pipe()
    # bash places the descriptors, of any number, as `preexec_fn` may not in a process of several threads.
    process = subprocess.Popen(
        [
            *("bash", "-c", f'exec "$0" "$@" 3<&{theirs} 4>&{ours}', CHROMIUM),
            *(*_FLAGS, f"--user-data-dir={folder}"),
        ],
        pass_fds=(theirs, ours),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(ours)
    try:
        yield Browser(process, to, fro)
    finally:
        os.close(to)
        os.close(fro)
        process.terminate()
        process.wait(30)
