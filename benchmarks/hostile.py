"""Visitors of the page beside a hostile one, on loopback: `python -m benchmarks.hostile`.

Starts a page of its own, stops it at the end, and exits with 1 where a visitor got an error, the hostile one got a
file that was not sent, or the log names what was sent.
"""

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import httpx
import PIL.Image
import psutil
from gradio_client import Client, handle_file

from benchmarks.demo import portrait

ADDRESS = "127.0.0.2"  # of the hostile one; the others are 127.0.0.1
HANDS = 8  # with which it tries at once
MOST = 100_000  # things that it tries
NAME = "anna-vadvarka"  # of its files: no log may hold it
OPTIONS = [0, 0.2, 1, 1, 0.6, "blur", 0.1, 1, "face", "original", 0, False]


class Hostile:
    """Tries, one after the other, what was found to stop a page or to read its files."""

    def __init__(self, server: str, folder: Path) -> None:
        self.url, self.server, self.folder = f"{server}gradio_api", server, folder
        self.http = httpx.Client(transport=httpx.HTTPTransport(local_address=ADDRESS), timeout=60)
        self.events = self.http.get(f"{server}config").json()["dependencies"]
        self.answers: Counter[str] = Counter()
        self.leaks = 0
        self.broken: deque[socket.socket] = deque(maxlen=50)
        self.secret = folder / f"{NAME}.png"
        portrait(256).save(self.secret)
        self.bomb = folder / f"{NAME}-bomb.png"
        PIL.Image.new("1", (20_000, 10_000)).save(self.bomb)
        os.mkfifo(folder / "pipe.png")
        self.own = self.send(self.secret.read_bytes())
        self.acts: list[Callable[[], str]] = [
            self.reads, self.reads_by_any_event, self.long_body, self.no_json, self.bad_numbers, self.damaged,
            self.unpacks, self.cancels, self.walks_away, self.breaks_off, self.other_routes,
        ]  # fmt: skip

    def send(self, content: bytes, name: str = f"{NAME}.png") -> str:
        return self.http.post(f"{self.url}/upload", files={"files": (name, content)}).json()[0]

    def ask(self, path: str, options: list | None = None) -> str:
        """The last event with which the page answers."""
        data = [{"path": path}, *(options or OPTIONS)]
        joined = self.http.post(f"{self.url}/call/anonymize", json={"data": data})
        if joined.status_code != 200:
            return str(joined.status_code)
        told = self.http.get(f"{self.url}/call/anonymize/{joined.json()['event_id']}").text
        return "complete" if "event: complete" in told else "null" if '"error": null' in told else "error"

    def unsent(self) -> str:
        paths = ("/dev/ptmx", "/dev/zero", "/etc/passwd", "/none", str(self.secret), str(self.folder / "pipe.png"))
        return random.choice(paths)

    def reads(self) -> str:
        answer = self.ask(self.unsent())
        self.leaks += answer == "complete"
        return answer

    def reads_by_any_event(self) -> str:
        event = random.choice(self.events)
        file = {"path": self.unsent(), "url": "http://127.0.0.1:9/"}
        data = [file for _ in event["inputs"]]
        body = {"fn_index": event["id"], "session_hash": os.urandom(4).hex(), "data": data, "event_data": file}
        return str(self.http.post(f"{self.url}/queue/join", json=body).status_code)

    def long_body(self) -> str:
        return str(self.http.post(f"{self.url}/call/anonymize", content=b'{"data": ["' + b"x" * 2**22).status_code)

    def no_json(self) -> str:
        content = random.choice((b"[" * 100_000, b'{"data": [NaN]}', b"\xff", b"{}", b"[]", b""))
        return str(self.http.post(f"{self.url}/queue/join", content=content).status_code)

    def bad_numbers(self) -> str:
        options: list = list(OPTIONS)
        options[random.randrange(len(options))] = random.choice((-1, 1e300, "1", None, [], {}, 10**30))
        return self.ask(self.own, options)

    def damaged(self) -> str:
        content = bytearray(self.secret.read_bytes())
        for _ in range(9):
            content[random.randrange(len(content))] = random.randrange(256)
        return self.ask(self.send(bytes(content[: random.randrange(len(content))])))

    def unpacks(self) -> str:
        return self.ask(self.send(self.bomb.read_bytes()))

    def cancels(self) -> str:
        for _ in range(10):
            body = {"fn_index": self.named("anonymize"), "session_hash": os.urandom(4).hex()}
            joined = self.http.post(f"{self.url}/queue/join", json={**body, "data": [{"path": self.own}, *OPTIONS]})
            if joined.status_code != 200:
                return str(joined.status_code)
            self.http.post(f"{self.url}/cancel", json={**body, "event_id": joined.json()["event_id"]})
        return "cancelled"

    def walks_away(self) -> str:
        data = {"data": [{"path": self.own}, *OPTIONS]}
        return str([self.http.post(f"{self.url}/call/anonymize", json=data).status_code for _ in range(10)][-1])

    def breaks_off(self) -> str:
        port = int(self.server.rstrip("/").rsplit(":", 1)[1])
        self.broken.append(socket.create_connection(("127.0.0.1", port), source_address=(ADDRESS, 0)))
        self.broken[-1].sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        return "broken off"

    def other_routes(self) -> str:
        routes = ("run/anonymize", "api/anonymize", "process_recording", "component_server", "call/none", "stream/0")
        return str(self.http.post(f"{self.url}/{random.choice(routes)}", json={"data": [self.own]}).status_code)

    def named(self, name: str) -> int:
        return next(event["id"] for event in self.events if event["api_name"] == name)

    def run(self, stop: float, hand: int) -> None:
        for turn in range(MOST // HANDS):
            if time.monotonic() > stop:
                break
            act = self.acts[(hand + turn) % len(self.acts)]
            try:
                answer = act()
            except httpx.HTTPError as error:
                answer = type(error).__name__
            self.answers[f"{act.__name__}: {answer}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--peaceful", action="store_true", help="without the hostile one, for comparison")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        folder = Path(name)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        with (folder / "log").open("wb") as log:
            command = [sys.executable, "-m", "faceanon_hub", "app", "--port", str(port)]
            page = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                sys.exit(load(page, f"http://127.0.0.1:{port}/", folder, arguments))
            finally:
                page.terminate()
                page.wait(30)


def load(page: subprocess.Popen, server: str, folder: Path, arguments: argparse.Namespace) -> int:
    """Runs the visitors; returns whether anything went wrong."""
    for _ in range(120):
        try:
            httpx.get(server)
            break
        except httpx.HTTPError:
            time.sleep(1)
    photo = folder / "small.png"
    portrait(512).save(photo)
    waits: list[float] = []
    errors: Counter[str] = Counter()
    hostile = None if arguments.peaceful else Hostile(server, folder)
    # As patient as a browser, which the client of itself is not.
    patient = {"verbose": False, "download_files": str(folder), "httpx_kwargs": {"timeout": 60}}
    clients = [Client(server, **patient) for _ in range(arguments.clients)]
    stop = time.monotonic() + arguments.seconds

    def visit(client: Client) -> None:
        try:
            while time.monotonic() < stop:
                start = time.monotonic()
                _, report = client.predict(handle_file(photo), api_name="/anonymize")
                assert report["faces"][0]["status"] == "anonymized"
                waits.append(time.monotonic() - start)
        except Exception as error:
            errors[f"{type(error).__name__}: {error}"] += 1

    threads = [threading.Thread(target=visit, args=(client,)) for client in clients]
    if hostile:
        threads += [threading.Thread(target=hostile.run, args=(stop, hand)) for hand in range(HANDS)]
    for thread in threads:
        thread.start()
    peak = 0
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, psutil.Process(page.pid).memory_info().rss)
        time.sleep(0.5)
    log = (folder / "log").read_text()
    named = NAME in log or "Traceback" in log
    print(f"{arguments.clients} clients, {arguments.seconds:.0f} s: {len(waits)} answers, {errors.total()} errors")
    print(json.dumps(errors.most_common(3)) if errors else "no error")
    print(f"wait: median {statistics.median(waits):.1f} s, longest {max(waits):.1f} s; memory {peak / 2**30:.2f} GiB")
    print(f"log: {len(log)} characters, {'names' if named else 'nothing of'} what was sent")
    if hostile:
        print(f"the hostile one: {hostile.answers.total()} attempts, {hostile.leaks} files read")
        for act, count in sorted(hostile.answers.items()):
            print(f"  {act} x {count}")
    return int(bool(errors) or named or (hostile is not None and hostile.leaks > 0))


if __name__ == "__main__":
    main()
