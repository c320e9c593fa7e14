#!/usr/bin/env python3
"""Uses the console as people do: with a mouse, with the keyboard alone, on a desktop and on a phone, in the light and in
the dark; and tries to make it run what names, labels and texts say.

    tests/conformance/console.py target/release/weir [--shots DIR]

Needs playwright, axe-playwright-python, numpy, onnx, pillow and requests, and Debian's chromium.
"""

import argparse
import base64
import contextlib
import fcntl
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.parse

import numpy as np
import onnx
import requests
from axe_playwright_python.base import AXE_SCRIPT
from onnx import TensorProto, helper
from playwright.sync_api import expect, sync_playwright
from served import ROOT, Tally, Weir
from vision import FITS, SIDE, graph

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
# Whatever of these is read as HTML or as a script is seen: it sets a variable.
HOSTILE = [
    "<img src=x onerror=hacked=1>",
    "</script><script>hacked=1</script>",
    "\"'><svg onload=hacked=1>",
    "javascript:hacked=1",
]
# Elements that the console never makes.
MADE = "script:not([src^='/console/']), img:not([src='/console/icon.svg']), iframe, object, embed, [onerror], [onload], [onclick], [href^='javascript']"
FIRST_VIEW_BYTES = 60 * 1024
PATIENCE = 60_000


def hostile_classifier():
    """Returns a model of three numbers that are the classes' logits."""
    nodes = [helper.make_node("Softmax", ["numbers"], ["probabilities"], axis=1)]
    inputs = [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["N", len(HOSTILE)])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(HOSTILE)])]
    made = helper.make_graph(nodes, "hostile", inputs, outputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def unknown_operator():
    """Returns a model that no engine runs, with an operator and tensors of hostile names."""
    nodes = [helper.make_node(HOSTILE[0], ["x"], [HOSTILE[2]])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])]
    outputs = [helper.make_tensor_value_info(HOSTILE[2], TensorProto.FLOAT, ["N", 2])]
    made = helper.make_graph(nodes, "unknown", inputs, outputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def detector():
    """Returns a model that sees the same two things in every picture."""
    boxes = np.array([[200, 200, 160, 200, 0.9, 0.1], [460, 420, 180, 140, 0.2, 0.8]], np.float32)
    return graph({"output0": np.ascontiguousarray(np.concatenate([boxes] + [boxes * 0] * 3).T)})


def train_table(binary, models):
    """Trains a small model on a table whose columns and categories have hostile names."""
    source = random.Random(5)
    with tempfile.TemporaryDirectory() as folder:
        table = pathlib.Path(folder, "houses.csv")
        lines = [f'area,"{HOSTILE[0]}",price']
        for _ in range(600):
            area, kind = source.gauss(90, 25), source.randrange(2)
            lines.append(f'{area:.1f},"{HOSTILE[1] if kind else "flat"}",{area * 3 + kind * 40:.1f}')
        table.write_text("\n".join(lines) + "\n")
        command = [binary, "train", "dense", "--data", str(table), "--target", "price", "--epochs", "3"]
        subprocess.run([*command, "--models", str(models), "--runs", folder + "/runs"], check=True, capture_output=True)


def models_of(binary, folder):
    """Adds what cannot be given as one ONNX file: a trained table, and a folder with a hostile name."""
    train_table(binary, folder)
    odd = folder / "<img src=x onerror=hacked=1>" / "1"
    odd.mkdir(parents=True)
    (odd / "model.onnx").write_bytes(hostile_classifier())


class RunsFolder:
    """Runs as the trainer keeps them: two trainings, of which the second goes on while this lives, a very long one, and a
    search. Whatever a run directory may say, it says in a hostile way."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = self.folder.name
        report = f"<!doctype html><title>r</title><p id=shown>report</p><script>hacked=1</script>{HOSTILE[0]}"
        published = json.dumps({"model": HOSTILE[0], "version": 3})
        first = self.add("mnist-mlp/1", **{"card.md": "", "report.html": report, "published.json": published})
        for number in range(1, 11):
            self.train(first, number, 1.5 / number)
        self.second = self.add("mnist-mlp/2")
        self.train(self.second, 1, 1.2)
        self.held = os.open(self.second, os.O_RDONLY)
        fcntl.flock(self.held, fcntl.LOCK_EX)
        long = self.add("long/1")
        line = json.loads((first / "metrics.jsonl").read_text().splitlines()[0])
        (long / "metrics.jsonl").write_text("".join(json.dumps({**line, "epoch": number}) + "\n" for number in range(1, 30001)))
        search = self.add("dense/1")
        header = {"settings": "", "search": [f"{HOSTILE[0]}=[1,2]"], "trials": 4, "sampler": "tpe", "objective": "loss", "halving": 0, "first_rung": 1}
        trials = [self.trial(1, "finished", 0.5), self.trial(2, "failed", None), self.trial(3, "finished", 0.3)]
        (search / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [header, *trials]) + '{"trial": 4, "set')

    def add(self, name, **files):
        run = pathlib.Path(self.path, name)
        run.mkdir(parents=True)
        (run / "args.toml").write_text(f'preset = "mnist-mlp"\nepochs = 12\n"{HOSTILE[0]}" = \'{HOSTILE[1]}\'\nseed = {len(name) + ord(name[-1])}\n')
        for file, text in files.items():
            (run / file).write_text(text)
        return run

    @staticmethod
    def train(run, number, loss):
        score = {"samples": 100, "loss": loss * 1.1, "accuracy": 1 - loss / 3}
        line = {"epoch": number, "loss": loss, "accuracy": 1 - loss / 4, "validation": score, "learning_rate": 0.01 / number, "images_per_second": 9000 + 10 * number, "duration_seconds": 1.0}
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")

    @staticmethod
    def trial(number, outcome, objective):
        validation = objective and {"samples": 100, "loss": objective, "accuracy": 0.9}
        return {"trial": number, "settings": {HOSTILE[0]: number, "batch_size": 16 * number}, "outcome": outcome, "objective": objective, "epoch": 1, "validation": validation, "rungs": [], "epochs": 2, "seconds": 1.5, "problem": HOSTILE[1] if outcome == "failed" else None}

    def end(self):
        if self.held is not None:
            (self.second / "card.md").write_text("")
            os.close(self.held)
            self.held = None

    def close(self):
        self.end()
        self.folder.cleanup()


class Console:
    """A browser window that notes what must not happen."""

    def __init__(self, browser, base, screen="desktop", scheme="light", **more):
        width, height = SCREENS[screen]
        self.base = base
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=screen == "phone", **more)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.faults, self.elsewhere = [], []
        self.page.on("console", self.note)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(dialog.message), dialog.dismiss()))
        self.page.on("request", self.check_request)

    def note(self, message):
        # The browser itself logs every answer that is a refusal; the page shows those.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def check_request(self, request):
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def open(self, address=""):
        self.page.goto(f"{self.base}/{address}")

    def go(self, address):
        self.page.evaluate("address => { location.hash = address; }", f"#/{address}")

    def shows(self, text):
        expect(self.page.locator("body")).to_contain_text(text)

    def draw_seven(self):
        box = self.page.locator("canvas.sheet").bounding_box()
        place = lambda across, down: (box["x"] + across * box["width"], box["y"] + down * box["height"])  # noqa: E731
        mouse = self.page.mouse
        mouse.move(*place(0.28, 0.25))
        mouse.down()
        mouse.move(*place(0.7, 0.25), steps=8)
        mouse.move(*place(0.5, 0.8), steps=10)
        mouse.up()

    def verdict(self):
        return self.page.locator(".verdict").first

    def serious(self):
        """Returns what axe finds to be serious, with where."""
        self.page.evaluate(AXE_SCRIPT)
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        return [f"{each['id']}: {[node['html'][:120] for node in each['nodes'][:3]]}" for each in serious]

    def close(self):
        self.context.close()


class Run:
    """One run of all checks against a server."""

    def __init__(self, browser, weir, binary, tally, shots, trained):
        self.browser, self.weir, self.binary, self.check, self.shots, self.trained = browser, weir, binary, tally.check, shots, trained

    @contextlib.contextmanager
    def console(self, what, weir=None, **more):
        console = Console(self.browser, (weir or self.weir).base, **more)
        try:
            yield console, console.page
            made = console.page.evaluate("selector => document.querySelectorAll(selector).length", MADE) if "java_script_enabled" not in more else 0
            hacked = console.page.evaluate("'hacked' in window") if "java_script_enabled" not in more else False
            self.check(f"{what}: nothing of the server was run", not hacked and made == 0, (hacked, made))
            self.check(f"{what}: no fault in the browser's log", not console.faults, console.faults[:3])
            self.check(f"{what}: no request elsewhere", not console.elsewhere, console.elsewhere[:3])
        finally:
            console.close()

    def shoot(self, page, name):
        if self.shots:
            page.screenshot(path=self.shots / f"{name}.png", full_page=True)

    def plain(self):
        with self.console("without scripts", java_script_enabled=False) as (console, page):
            console.open()
            text = page.locator("body").inner_text()
            self.check("without scripts: the models and a form", "mnist-mlp" in text and page.locator("form").count() == 1, text[:200])
            self.check("without scripts: it is seen", page.locator("#plain").is_visible())
            self.shoot(page, "plain")

    def first_view(self):
        with self.console("first view") as (console, page):
            session = console.context.new_cdp_session(page)
            session.send("Network.enable")
            received = []
            session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
            page.add_init_script(
                "new MutationObserver(() => { if (!window.ready && document.querySelector('canvas.sheet')) window.ready = performance.now(); })"
                ".observe(document, {childList: true, subtree: true});"
            )
            console.open()
            page.wait_for_selector("canvas.sheet")
            page.wait_for_load_state("networkidle")
            print(f"      first view, cold: {sum(received) / 1024:.1f} KiB in {len(received)} answers, ready after {page.evaluate('window.ready'):.0f} ms")
            self.check("first view: at most 60 KiB", 0 < sum(received) <= FIRST_VIEW_BYTES, sum(received))

    def drawn(self):
        with self.console("drawing") as (console, page):
            console.open("#/try/mnist-cnn")
            page.wait_for_selector("canvas.sheet")
            page.evaluate(
                "addEventListener('pointerup', () => { window.lifted = performance.now(); window.answered = 0; }, true);"
                "new MutationObserver(() => { if (!window.answered && document.querySelector('.verdict')) window.answered = performance.now(); })"
                ".observe(document.body, {childList: true, subtree: true})"
            )
            times = []
            for _ in range(5):
                page.get_by_role("button", name="Clear").dispatch_event("click")
                expect(page.locator(".verdict")).to_have_count(0)
                console.draw_seven()
                expect(console.verdict()).to_contain_text("7")
                times.append(page.evaluate("answered - lifted"))
            print(f"      pen lifted to answer: median {sorted(times)[2]:.1f} ms of {', '.join(f'{each:.0f}' for each in times)}")
            self.check("drawing: a seven is a seven", console.verdict().inner_text().startswith("7"))
            self.check("drawing: bars for all classes", page.locator(".bars li").count() == 10)
            page.get_by_role("button", name="Undo").click()
            console.shows("There is nothing to ask about yet.")
            console.draw_seven()
            page.get_by_role("button", name="That is right").click()
            console.shows("Thank you. It counts as right for mnist-cnn 1.")
            page.get_by_role("button", name="Take it back").click()
            console.shows("Taken back")
            page.locator("summary", has_text="How sure must it be?").click()
            page.get_by_label("Name all classes, to be right in").select_option("0.95")
            console.shows("Right with at least")
            self.snippets(page, "drawing")

    def snippets(self, page, what):
        """Runs the texts that repeat the request, and compares what they say with what the page says."""
        label = page.locator(".verdict").first.evaluate("element => element.firstChild.textContent")
        folder = tempfile.mkdtemp()
        for language, run in {
            "curl": lambda text: subprocess.run(["bash", "-c", text.replace("curl ", "curl -s ")], capture_output=True, text=True, cwd=folder).stdout,
            "Python": lambda text: json.dumps(eval(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=folder).stdout)),  # noqa: S307
            "JavaScript": lambda text: json.dumps(page.evaluate(f"async () => {{ {text.replace('console.log(', 'return (')} }}")),
        }.items():
            page.get_by_role("radio", name=language, exact=True).check()
            answer = run(page.locator("section pre").last.inner_text())
            told = json.loads(answer)["predictions"][0]
            said = str(told["label"]) if "label" in told else f"{told['value']:.6g}"
            self.check(f"{what}: the {language} text asks the same", said == label.replace(",", ""), (said, label))

    def pictures(self):
        with self.console("files") as (console, page):
            console.open("#/try/detector")
            file = {"name": HOSTILE[0] + ".png", "mimeType": "image/png", "buffer": (ROOT / "data" / "seven.png").read_bytes()}
            page.locator("input[type=file]").set_input_files(file)
            console.shows("2 things")
            self.check("files: boxes are drawn by the server", page.locator(".answer canvas.picture").count() == 1)
            self.check("files: labels are text", HOSTILE[0] in page.locator(".answer").inner_text())
            self.shoot(page, "detector")
            console.go("try/mnist-cnn")
            page.wait_for_selector("canvas.drawable")
            content = base64.b64encode(file["buffer"]).decode()
            given = "const made = new DataTransfer(); made.items.add(new File([Uint8Array.from(atob(content), one => one.charCodeAt(0))], 'x.png', {type: 'image/png'}));"
            page.evaluate(f"content => {{ {given} dispatchEvent(new ClipboardEvent('paste', {{clipboardData: made}})); }}", content)
            expect(console.verdict()).to_contain_text("7")
            self.check("files: a pasted seven is a seven", True)
            page.get_by_role("button", name="Clear").click()
            expect(page.locator(".verdict")).to_have_count(0)
            page.evaluate(f"content => {{ {given} document.querySelector('.pad').dispatchEvent(new DragEvent('drop', {{dataTransfer: made, cancelable: true}})); }}", content)
            expect(console.verdict()).to_contain_text("7")
            self.check("files: a dropped seven is a seven", True)

    def keyboard(self):
        """Chooses a model, fills its form and asks, without a pointer."""
        with self.console("keyboard") as (console, page):
            console.open("#/try/mnist-mlp")
            page.wait_for_selector("canvas.sheet")
            keys = page.keyboard

            def tab_to(selector, most=40):
                for _ in range(most):
                    keys.press("Tab")
                    if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                        return True
                return False

            keys.press("Tab")
            self.check("keyboard: the first stop skips the head", page.evaluate("document.activeElement.className") == "skip")
            self.check("keyboard: the model is reached", tab_to("#pick-model"))
            keys.type("dense")
            page.wait_for_selector(".columns")
            self.check("keyboard: the choice keeps the focus", page.evaluate("document.activeElement.id") == "pick-model")
            self.check("keyboard: the form is reached", tab_to(".columns input"))
            keys.press("Control+A")
            keys.type("100")
            keys.press("Enter")
            page.wait_for_selector(".verdict")
            value = float(console.verdict().inner_text().replace(",", ""))
            self.check("keyboard: the row is answered", 200 < value < 440, value)
            self.check("keyboard: names of columns and categories are text", all(name in page.locator(".columns").inner_text() for name in HOSTILE[:2]))
            self.snippets(page, "keyboard")
            self.check("keyboard: a file can be chosen", self.reaches_files(console, tab_to))

    @staticmethod
    def reaches_files(console, tab_to):
        console.go("try/mnist-mlp")
        console.page.wait_for_selector("canvas.sheet")
        return tab_to("input[type=file]")

    def hostile(self):
        """Lets the server say hostile things wherever the page shows what it says."""
        with self.console("hostile texts") as (console, page):
            console.open("#/try/hostile")
            page.get_by_label("Request as JSON").fill(json.dumps({"instances": [[0, 3, 1, 0]]}))
            page.get_by_role("button", name="Ask").click()
            expect(console.verdict()).to_contain_text(HOSTILE[1])
            self.check("hostile texts: labels", all(label in page.locator(".answer").inner_text() for label in HOSTILE))
            page.get_by_label("Request as JSON").fill('{"instances": [[1, "<img src=x onerror=hacked=1>"')
            page.get_by_role("button", name="Ask").click()
            page.wait_for_selector(".failure")
            page.locator(".failure summary").click()
            self.check("hostile texts: a refusal is shown as it is", "request_id" in page.locator(".failure pre").inner_text())
            console.go("try/unknown")
            console.shows("Not served")
            console.go("models/unknown")
            console.shows("Audit trail")
            problem = {"type": HOSTILE[0], "title": HOSTILE[1], "status": 422, "detail": HOSTILE[2], "request_id": HOSTILE[3]}
            page.route("**/predict*", lambda route: route.fulfill(status=422, json=problem, headers={"x-request-id": HOSTILE[0]}))
            console.go("try/hostile")
            page.get_by_role("button", name="Ask").click()
            expect(page.locator(".failure")).to_contain_text(HOSTILE[2])
            self.check("hostile texts: problems and identifiers of requests", HOSTILE[0] in page.locator(".failure").inner_text())
            alarm = {"id": HOSTILE[0], "kind": HOSTILE[1], "severity": "critical", "state": "raised", "summary": HOSTILE[2], "raised_at": HOSTILE[0], "model": HOSTILE[1], "version": 1}
            entry = dict.fromkeys(("time", "by", "action", "model", "alias", "outcome", "request_id"), HOSTILE[0])
            event = f"id: 1-1\nevent: alarm\ndata: {json.dumps({'turn': HOSTILE[0], 'summary': HOSTILE[1]})}\n\n"
            page.route("**/alarms", lambda route: route.fulfill(json={"alarms": [alarm]}))
            page.route("**/audit*", lambda route: route.fulfill(json={"entries": [entry]}))
            page.route("**/events", lambda route: route.fulfill(body=event, content_type="text/event-stream"))
            console.go("watch/hostile")
            console.shows(HOSTILE[2])
            expect(page.locator(".events")).to_contain_text(HOSTILE[1])
            console.go("models/hostile")
            expect(page.locator("section", has_text="Audit trail").locator("td").first).to_have_text(HOSTILE[0])
            self.check("hostile texts: alarms, events and the audit trail", True)
            console.go(f"models/{urllib.parse.quote(HOSTILE[0], safe='')}")
            console.shows("Audit trail")

    def watched(self):
        seven = base64.b64encode((ROOT / "data" / "seven.png").read_bytes()).decode()
        ask = lambda: requests.post(f"{self.weir.base}/models/mnist-mlp/predict", json={"images": [seven] * 50}, timeout=60)  # noqa: E731
        with self.console("watching") as (console, page):
            console.open("#/watch/mnist-mlp")
            expect(page.locator(".view-head .chip")).to_have_text("live")
            identifier = ask().json()["request_id"]
            requests.post(f"{self.weir.base}/feedback", json={"request_id": identifier, "label": 7}, timeout=60).raise_for_status()
            expect(page.locator(".events")).to_contain_text("labels changed the figures of mnist-mlp 1")
            self.check("watching: an event arrives", True)
            # The same picture again and again is another traffic than the reference.
            deadline = time.monotonic() + PATIENCE / 1000
            while not requests.get(f"{self.weir.base}/alarms?state=raised", timeout=60).json()["alarms"] and time.monotonic() < deadline:
                ask()
            page.wait_for_selector(".alarm")
            expect(page.locator("main")).to_contain_text("by 1 labels")
            ask()
            expect(page.locator(".tiles dd", has_text="—")).to_have_count(0)
            self.check("watching: rates and latencies", page.locator(".lines path").count() == 8)
            page.locator(".alarm summary", has_text="Acknowledge").first.click()
            page.get_by_label("Who").first.fill("ann")
            page.get_by_label("Why it may go on").first.fill(HOSTILE[0])
            page.get_by_role("button", name="Acknowledge").first.click()
            console.shows(f"Known to ann: {HOSTILE[0]}")
            self.check("watching: an alarm is acknowledged", True)

    def changed(self):
        with self.console("changing") as (console, page):
            console.open("#/models/mnist-cnn")
            page.get_by_role("button", name="Promote").click()
            page.get_by_role("dialog").get_by_role("button", name="Promote").click()
            expect(page.locator("table").first).to_contain_text("stable")
            self.check("changing: an alias is moved", requests.get(f"{self.weir.base}/models/mnist-cnn", timeout=60).json()["aliases"] == {"stable": 1})
            page.get_by_role("button", name="Roll back").click()
            page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
            expect(page.get_by_role("dialog").locator(".failure")).to_contain_text("409")
            page.get_by_role("button", name="Cancel").click()
            self.check("changing: a refusal is shown as it is", True)
            console.go("models/hostile")
            page.get_by_role("button", name="Unload").click()
            page.get_by_role("button", name="Cancel").click()
            self.check("changing: nothing happens without a confirmation", self.state("hostile") == "AVAILABLE")
            page.get_by_role("button", name="Unload").click()
            page.get_by_role("dialog").get_by_role("button", name="Unload").click()
            expect(page.locator("table").first).to_contain_text("not loaded")
            page.get_by_role("button", name="Load").click()
            page.get_by_role("dialog").get_by_role("button", name="Load").click()
            expect(page.locator("table").first).to_contain_text("available")
            self.check("changing: unloaded and loaded again", self.state("hostile") == "AVAILABLE")
            expect(page.locator("section", has_text="Audit trail")).to_contain_text("unload")

    def runs(self):
        """Runs in a table and as curves; live while one trains; and what a run directory says is text."""
        with self.console("runs") as (console, page):
            console.open("#/runs")
            page.wait_for_selector(".lines path", state="attached")
            self.check("runs: what trains now is shown first", page.locator("input:checked").evaluate_all("boxes => boxes.map(box => box.id)") == ["pick-mnist-mlp/2"])
            expect(page.locator(".view-head .chip")).to_have_text("live")
            row = page.locator("tr", has_text="mnist-mlp/2").first
            expect(row).to_contain_text("1 of 12 epochs")
            RunsFolder.train(self.trained.second, 2, 0.9)
            expect(row).to_contain_text("2 of 12 epochs")
            expect(page.locator(".chart").first).to_contain_text("0.99")
            self.check("runs: an epoch appears by itself", True)
            page.get_by_label("mnist-mlp/1", exact=True).check()
            expect(page.locator(".chart").first.locator("path")).to_have_count(2)
            console.shows("Settings that differ")
            self.check("runs: two are laid over one another", page.evaluate("location.hash") == "#/runs/mnist-mlp%2F2/mnist-mlp%2F1")
            self.check("runs: settings that differ", "seed" in page.get_by_role("table", name="Settings that differ").inner_text())
            page.get_by_label("dense/1", exact=True).check()
            expect(page.get_by_role("table", name="Trials of dense/1").locator("tbody tr")).to_have_count(3)
            trials = page.get_by_role("table", name="Trials of dense/1").inner_text()
            self.check("runs: a search has its trials, the best first", "batch_size" in trials and HOSTILE[0] in trials and trials.index("48") < trials.index("16"), trials)
            self.check("runs: what they say is text", HOSTILE[0] in page.locator("main").inner_text())
            page.get_by_label("mnist-mlp/2", exact=True).focus()
            page.keyboard.press("Space")
            expect(page.locator(".chart").first.locator("path")).to_have_count(1)
            self.check("runs: the keyboard chooses, and keeps its place", page.evaluate("document.activeElement.id") == "pick-mnist-mlp/2")
            asked = []
            page.on("request", lambda request: asked.append(request.url))
            page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))")
            page.wait_for_timeout(2500)
            asked.clear()
            page.wait_for_timeout(5000)
            self.check("runs: nobody is asked while the page is hidden", not asked, asked)
            page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))")
            self.trained.end()
            expect(row).to_contain_text("finished")
            self.check("runs: an end is seen", True)
            console.go("runs/long%2F1/mnist-mlp%2F1")
            console.shows("is shown, with the first and the last")
            console.shows("of those read")
            lines = page.locator(".chart").first.locator("path").evaluate_all("paths => paths.map(path => path.getAttribute('d').split('M').length - 1)")
            self.check("runs: a long run is drawn without gaps, and what is left out is said", lines == [1, 1], lines)
            console.go("runs/none%2F9")
            console.shows("There is no run none/9.")
        with self.console("a report") as (console, page):
            console.open("#/runs/mnist-mlp%2F1")
            with console.context.expect_page() as opened:
                page.get_by_role("link", name="Report of mnist-mlp/1").click()
            report = opened.value
            report.wait_for_selector("#shown")
            self.check("a report: it runs nothing and is of no origin", report.evaluate("!('hacked' in window) && origin === 'null'"))
            report.close()
        without = Weir(self.binary)
        try:
            with self.console("no runs", without) as (console, page):
                console.open("#/runs")
                console.shows("weir serve --runs runs")
                self.check("no runs: it is said how to see them", True)
        finally:
            without.stop()

    def state(self, model):
        return requests.get(f"{self.weir.base}/models/{model}", timeout=60).json()["versions"][0]["state"]

    def looks(self):
        """Every view on every screen and in both schemes, through axe."""
        for screen in SCREENS:
            for scheme in ("light", "dark"):
                what = f"{screen}, {scheme}"
                with self.console(what, screen=screen, scheme=scheme) as (console, page):
                    for name, prepare in VIEWS.items():
                        prepare(console)
                        page.wait_for_timeout(100)
                        serious = console.serious()
                        self.check(f"{what}: axe finds nothing serious in {name}", not serious, serious)
                        beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                        self.check(f"{what}: {name} is no wider than the screen", beyond <= 0, beyond)
                        self.shoot(page, f"{name}-{screen}-{scheme}")

    def swagger(self):
        with self.console("the API's pages") as (console, page):
            console.open("docs/")
            page.wait_for_selector(".opblock")
            self.check("the API's pages work under their policy", page.locator(".opblock").count() > 10)
            # Swagger UI draws a picture of its own.
            page.goto("about:blank")

    def keys(self):
        """A server with keys: the page asks for one, keeps it in memory, and shows what the key may not do."""
        with tempfile.TemporaryDirectory() as folder:
            keys = folder + "/keys.toml"
            made = subprocess.run([self.binary, "keys", "--file", keys, "new", "asker", "--scopes", "predict"], capture_output=True, text=True, check=True)
            secret = made.stdout.strip()
            weir = Weir(self.binary, "--keys", keys)
            try:
                with self.console("keys", weir) as (console, page):
                    console.open()
                    page.get_by_role("dialog").wait_for()
                    self.check("keys: nothing is shown without one", "mnist-mlp" not in page.locator("body").inner_text())
                    self.shoot(page, "key")
                    page.locator("dialog input[type=password]").fill(secret)
                    page.get_by_role("button", name="Use it").click()
                    page.wait_for_selector("canvas.sheet")
                    console.draw_seven()
                    expect(console.verdict()).to_contain_text("7")
                    console.shows("Authorization: Bearer $WEIR_API_KEY")
                    self.check("keys: no text shows it", secret not in page.content())
                    console.go("models/mnist-mlp")
                    expect(page.locator(".failure")).to_contain_text("403")
                    self.check("keys: what the key may not do is said", True)
                    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
                    self.check("keys: it is kept nowhere", secret not in stored, stored)
                    page.reload()
                    page.get_by_role("dialog").wait_for()
                    page.locator("dialog input[type=password]").fill(secret)
                    page.get_by_label("Keep it in this tab", exact=False).check()
                    page.get_by_role("button", name="Use it").click()
                    console.shows("mnist-mlp")
                    page.reload()
                    console.shows("mnist-mlp")
                    self.check("keys: on request the tab keeps it", page.get_by_role("dialog").count() == 0)
            finally:
                weir.stop()


def view_try(console):
    console.open("#/try/mnist-cnn")
    console.page.wait_for_selector("canvas.sheet")
    console.draw_seven()
    expect(console.verdict()).to_contain_text("7")


def view_make(console):
    console.go("try/mnist-vae")
    console.page.get_by_role("radio", name="Make pictures").check()
    console.page.wait_for_selector(".offer")
    console.page.wait_for_selector(".answer .timing")


def view_table(console):
    console.go("try/dense")
    console.page.wait_for_selector(".columns")
    console.page.get_by_role("button", name="Ask").click()
    console.page.wait_for_selector(".verdict")


def view_failure(console):
    console.go("try/hostile")
    console.page.get_by_label("Request as JSON").fill('{"instances": [[1]]}')
    console.page.get_by_role("button", name="Ask").click()
    console.page.wait_for_selector(".failure")


def view_watch(console):
    console.go("watch/mnist-mlp")
    console.page.wait_for_selector(".confusion")
    console.page.wait_for_selector(".drift")
    expect(console.page.locator(".tiles dd").first).not_to_have_text("—")


def view_models(console):
    console.go("models/mnist-mlp")
    console.shows("Audit trail")


def view_confirm(console):
    console.page.get_by_role("button", name="Promote").first.click()
    console.page.get_by_role("dialog").wait_for()


def view_runs(console):
    console.go("runs/mnist-mlp%2F1/mnist-mlp%2F2/dense%2F1")
    console.page.wait_for_selector(".lines path", state="attached")
    console.page.get_by_role("table", name="Trials of dense/1").wait_for()


VIEWS = {"try": view_try, "make": view_make, "table": view_table, "failure": view_failure, "watch": view_watch, "runs": view_runs, "models": view_models, "confirm": view_confirm}

PARTS = ["plain", "first_view", "drawn", "pictures", "keyboard", "hostile", "changed", "watched", "runs", "looks", "swagger", "keys"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part to run; can be given several times")
    parser.add_argument("--shots", type=pathlib.Path, help="folder for pictures of the views")
    arguments = parser.parse_args()
    if arguments.shots:
        arguments.shots.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE)
    binary, tally = str(pathlib.Path(arguments.binary).resolve()), Tally()
    labels = f"labels = {json.dumps(HOSTILE)}\n"
    settings = {
        "hostile": labels + '[transform.output]\nkind = "classification"\nprobabilities = "probabilities"\n',
        "detector": f'labels = {json.dumps(HOSTILE[:2])}\n{FITS["yolo"]}[answer]\nkind = "detections"\n',
    }
    models = {"hostile": hostile_classifier(), "unknown": unknown_operator(), "detector": detector()}
    drifting = ["--drift-learning-windows", "0", "--alarm-hold-seconds", "0", "--drift-samples-per-second", "0"]
    trained = RunsFolder()
    weir = Weir(binary, *drifting, "--runs", trained.path, models=models, settings=settings, bundled=["mnist-cnn", "mnist-vae"], more=lambda folder: models_of(binary, folder))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            run = Run(browser, weir, binary, tally, arguments.shots, trained)
            for part in arguments.only or PARTS:
                getattr(run, part)()
            browser.close()
    finally:
        weir.stop()
        trained.close()
    tally.close()


if __name__ == "__main__":
    main()
