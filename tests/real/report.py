# SPDX-License-Identifier: MIT
"""The report of `agentsight stats --html`, opened in a browser without a window.

The browser's debugging pipe (descriptors 3 and 4, messages ended by NUL) tells of everything that
appears in the console and of what is on the page; it needs no library and no port.
"""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from real import AGENTSIGHT, WAIT_S, Failure, Skip, wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
START_NS = 1_700_000_000_000_000_000


class Browser:
    def __init__(self, program, directory):
        # descriptors 3 and 4 of the child, whatever they are here
        down_read, self.down = os.pipe()
        self.up, up_write = os.pipe()
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--no-first-run", f"--user-data-dir={directory}", "--remote-debugging-pipe", "about:blank"]

        def place():
            read, write = os.dup2(down_read, 30), os.dup2(up_write, 31)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=place)
        os.close(down_read)
        os.close(up_write)
        self.next_id = 0
        self.buffer = b""
        self.events = []

    def receive(self, until):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.up], [], [], max(0, until - time.monotonic()))
            if not ready:
                raise Failure("the browser does not answer")
            data = os.read(self.up, 1 << 16)
            if not data:
                raise Failure("the browser ended")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.next_id += 1
        message = {"id": self.next_id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.down, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + WAIT_S
        while True:
            answer = self.receive(until)
            if answer.get("id") == self.next_id:
                if "error" in answer:
                    raise Failure(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def close(self):
        os.close(self.down)
        os.close(self.up)
        self.process.kill()
        self.process.wait()


def row(at_ms, source, pid, comm, **data):
    return json.dumps({"timestamp": START_NS + at_ms * 1_000_000, "source": source, "pid": pid, "comm": comm,
                       "exec_id": f"{pid}@{pid}", "data": data}) + "\n"


def recording(path):
    """A minute of two processes, with an alert, calls and names that are markup."""
    with open(path, "w") as f:
        f.write(row(0, "process", 10, "agent", type="info", argv=["agent", HOSTILE], started=START_NS))
        for i in range(1, 601):
            cpu = 350 if 200 <= i < 260 else 0.2 if i > 450 else 120
            memory = {"rss_kb": 100000 + i, "vsz_kb": 1, "pss_kb": 80000 + i}
            sums = {"read_bytes": 4096 * i, "write_bytes": 100000 * i}
            f.write(row(i * 100, "system", 10, HOSTILE[:15], type="system_metrics", cpu={"percent": str(cpu), "cores": 4},
                        memory=memory, process={"threads": 3}, io=sums, interval_ns=100_000_000))
            f.write(row(i * 100, "system", 10, "agent", type="tree", processes=2, threads=5, cpu={"percent": str(cpu), "total_ns": i},
                        memory=memory, io=sums, net={"rx_bytes": 50 * i, "tx_bytes": 5 * i}, interval_ns=100_000_000))
        f.write(row(25000, "alert", 10, "agent", type="threshold", rule=HOSTILE, metric="cpu", value=350, limit=300, state="start"))
        f.write(row(30000, "llm", 10, "agent", type="response", provider="x", model=HOSTILE, role="client", status=200,
                    usage={"input_tokens": 5, "output_tokens": 6}, duration_ns=2_000_000_000))


def evaluate(browser, session, expression):
    result = browser.call("Runtime.evaluate", session, expression=expression, returnByValue=True)
    if "exceptionDetails" in result:
        raise Failure(f"{expression}: {result['exceptionDetails']}")
    return result["result"].get("value")


def is_there(browser, session):
    """An event would not say which page was loaded: the empty one before ends, too."""
    try:
        return evaluate(browser, session, "location.protocol + document.readyState") == "file:complete"
    except Failure:  # between the two there is none
        return False


def complaints(events):
    """What a person would see in red in the console."""
    found = []
    for e in events:
        params = e.get("params", {})
        if e.get("method") == "Runtime.exceptionThrown":
            found.append(str(params["exceptionDetails"].get("text")))
        elif e.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            found.append(str(params["args"]))
        elif e.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            found.append(params["entry"]["text"])
    return found


def look_at(browser, url):
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Runtime", "Log", "Page"):
        browser.call(f"{domain}.enable", session)
    browser.call("Page.navigate", session, url=url)
    wait_until("the page", lambda: is_there(browser, session))

    title = evaluate(browser, session, "document.title")
    if title != "agentsight report":
        raise Failure(f"text of the recording was run: the title is {title!r}")
    images = evaluate(browser, session, "document.images.length")
    charts = evaluate(browser, session, "document.querySelectorAll('figure svg').length")
    points = evaluate(browser, session, "Math.max(...[...document.querySelectorAll('path.l')].map(p => p.getTotalLength()))")
    if images or charts != 6 or not points > 900:
        raise Failure(f"{charts} charts, {images} images, a longest line of {points}")

    # the values under the pointer: in the burst, 20 s to 26 s of 60
    where = evaluate(browser, session, "(() => { const f = document.querySelector('.frame'); f.scrollIntoView({block: 'center', behavior: 'instant'});"
                     "const r = f.getBoundingClientRect();"
                     "return [r.left + r.width * 23 / 60, r.top + r.height / 2] })()")
    browser.call("Input.dispatchMouseEvent", session, type="mouseMoved", x=where[0], y=where[1])
    tip = evaluate(browser, session, "document.querySelector('.tip:not([hidden])')?.innerText ?? ''")
    if "350.0 %" not in tip or "burst" not in tip:
        raise Failure(f"under the pointer stands {tip!r}")

    # a phone: nothing but tables is wider than the screen
    browser.call("Emulation.setDeviceMetricsOverride", session, width=360, height=740, deviceScaleFactor=2, mobile=True)
    wide = evaluate(browser, session, "document.documentElement.scrollWidth")
    if wide > 360:
        raise Failure(f"on a screen of 360 the page is {wide} wide")
    bad = complaints(browser.events)
    if bad:
        raise Failure(f"the console says {bad}")


def the_report_shows_its_charts_in_a_browser_without_an_error(bench=None):
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        raise Skip("there is no chromium")
    directory = tempfile.mkdtemp(prefix="report.")
    try:
        source, page = os.path.join(directory, "record.jsonl"), os.path.join(directory, "report.html")
        recording(source)
        subprocess.run([AGENTSIGHT, "stats", "--html", page, source], check=True, timeout=WAIT_S)
        browser = Browser(program, os.path.join(directory, "profile"))
        try:
            look_at(browser, "file://" + page)
        finally:
            browser.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # its helpers may still be writing


TESTS = [the_report_shows_its_charts_in_a_browser_without_an_error]
