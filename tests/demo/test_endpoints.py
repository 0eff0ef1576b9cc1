"""The page without a browser: through gradio_client, by language models, and by those who mean harm."""

import asyncio
import base64
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from copy import copy
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import PIL.Image
import pytest
from helpers.clips import encode, read
from helpers.photos import encoded, turned

from faceanon_hub import FaceAnonPipeline
from faceanon_hub.faces import FaceStatus

gradio = pytest.importorskip("gradio")
from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

from faceanon_hub.demo import endpoints, launch, lend_gpu  # noqa: E402
from faceanon_hub.demo.intake import MAX_JSON, MAX_WAITING  # noqa: E402
from faceanon_hub.demo.words import MESSAGES  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs" / "page.md"


@pytest.fixture(scope="module")
def server(lenient):
    """The running demo's address."""
    page, address = launch(lenient, mcp=True, prevent_thread_lock=True, quiet=True)
    yield address
    page.close()


@pytest.fixture(scope="module")
def client(server, tmp_path_factory) -> Client:
    return Client(server, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path).convert("RGB")).astype(int)


def frames_of(answer: dict | str) -> list[np.ndarray]:
    """The pictures of a video that came through the client."""
    return [frame.pixels.astype(int) for frame in read(answer["video"] if isinstance(answer, dict) else answer)]


def test_one_photo_through_the_client(client, head, lenient):
    path, report = client.predict(handle_file(head), seed=4, light=0.5, api_name="/anonymize")
    expected = np.asarray(lenient(head, seed=4, lighting_strength=0.5).images[0]).astype(int)
    assert np.abs(pixels(path) - expected).mean() < 2  # JPEG
    (face,) = report["faces"]
    assert face["status"] == "anonymized" and "seed" not in face and "landmarks" not in face


def test_a_video_through_the_client(client, clip, head, tmp_path):
    answer, report = client.predict(handle_file(clip), 0.2, 0.8, seed=4, api_name="/video")
    frames = frames_of(answer)
    assert len(frames) == report["frames"] == 7
    (track,) = report["tracks"]
    assert track["frames"] == {"anonymized": 7} and "seed" not in track
    left, top, right, bottom = 130, 100, 200, 200
    original = np.roll(turned(0), 4, 1).astype(int)
    assert np.abs(frames[0] - original)[top:bottom, left:right].mean() > 5
    with pytest.raises(AppError, match="after the start"):
        client.predict(handle_file(clip), 0.5, 0.2, api_name="/video")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:2000])
    with pytest.raises(AppError, match="cannot be used"):
        client.predict(handle_file(broken), 0, None, api_name="/video")
    path = encode(tmp_path / "long.mp4", [np.zeros((64, 64, 3), np.uint8)] * 70, rate=1)
    with pytest.raises(AppError, match="At most 60 seconds"):
        client.predict(handle_file(path), 0, None, api_name="/video")


def test_the_example_of_the_docs_runs(server, head):
    (code,) = re.findall(r"```python\n(from gradio_client.*?)```", DOCS.read_text(), re.S)
    told: dict = {}
    exec(code.replace("http://127.0.0.1:7860", server).replace("photo.jpg", str(head)), told)
    assert told["report"]["faces"][0]["status"] == "anonymized"
    assert pixels(told["path"]).shape == (320, 320, 3)


def test_several_photos_come_back_as_an_archive(client, head, nobody, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    archive = zipfile.ZipFile(client.predict([handle_file(p) for p in (head, nobody, broken)], api_name="/batch"))
    assert archive.namelist() == ["001-head.jpg", "report.json"]
    report = json.loads(archive.read("report.json"))
    assert [entry["input"] for entry in report] == ["head.png", "nobody.png", "broken.jpg"]
    assert len(report[0]["faces"]) == 1 and "error" in report[2]
    assert report[1]["faces"] == [] and "output" not in report[1]  # unchanged: not offered as anonymized
    assert np.abs(pixels(archive.open("001-head.jpg")) - pixels(head)).max() > 30


def test_boxes_are_hidden_and_looked_at_through_the_client(client, head, nobody, clip):
    path, report = client.predict(handle_file(head), hide=[[0, 0, 319.5, 300]], api_name="/anonymize")
    assert all(face["status"] == "obfuscated" for face in report["faces"])  # a blurred one may be taken for one
    assert np.abs(pixels(path) - pixels(head)).mean() > 2
    path, report = client.predict(handle_file(head), look=[[117, 90, 206, 210]], api_name="/anonymize")
    assert [face["status"] for face in report["faces"]] == ["anonymized"]
    path, report = client.predict(handle_file(nobody), look=[[20, 20, 90, 90]], api_name="/anonymize")
    assert report["faces"] == []
    hide = [[], [[0, 0, 100, 100]]]
    files = [handle_file(nobody), handle_file(nobody)]
    archive = zipfile.ZipFile(client.predict(files, hide=hide, api_name="/batch"))
    assert archive.namelist() == ["002-nobody.jpg", "report.json"]  # a result, now that something is hidden
    assert [entry["hide"] for entry in json.loads(archive.read("report.json"))] == [[], [[0, 0, 100, 100]]]
    archive = zipfile.ZipFile(client.predict(files, hide=[[[900, 0, 999, 9]], []], api_name="/batch"))
    assert "hide" in json.loads(archive.read("report.json"))[0]["error"]  # it cannot be hidden: no result
    for wrong in (hide[:1], [[0, 0, 1, 1]] * 3):
        with pytest.raises(AppError, match="hide"):
            client.predict(files, hide=wrong, api_name="/batch")
    answer, _ = client.predict(handle_file(clip), 0, 0.2, hide=[[0, 0, 320, 320]], api_name="/video")
    assert np.abs(frames_of(answer)[0] - turned(0).astype(int))[100:200, 130:200].mean() > 5
    for name, sent in (("anonymize", head), ("video", clip)):
        with pytest.raises(AppError, match="hide"):
            client.predict(handle_file(sent), hide=[[900, 0, 999, 9]], api_name=f"/{name}")


BOMB = encoded(PIL.Image.new("1", (20_000, 10_000)), "PNG")


@pytest.mark.parametrize(
    "content", [b"", b"just text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n", BOMB]
)
def test_a_file_that_is_no_photo_is_a_clear_error_and_the_next_user_is_served(client, head, tmp_path, content):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(content)
    with pytest.raises(AppError, match="pixels" if content == BOMB else None) as error:
        client.predict(handle_file(bad), api_name="/anonymize")
    assert str(tmp_path) not in str(error.value)
    assert client.predict(handle_file(head), api_name="/anonymize")[1]["faces"]


def test_names_cannot_leave_the_archive(client, head, tmp_path):
    odd = tmp_path / "..%2F..%2F.. evil\\..\\x'\".png"
    odd.write_bytes(head.read_bytes())
    archive = zipfile.ZipFile(client.predict([handle_file(odd)], api_name="/batch"))
    name, _ = archive.namelist()
    assert name.startswith("001-") and "/" not in name and "\\" not in name


def test_one_visitor_cannot_name_the_files_of_another_or_of_the_machine(client, server, head):
    path = Path(client.predict(handle_file(head), api_name="/anonymize")[0])
    assert path.is_file()  # downloaded: on the server it lies in a folder whose name cannot be guessed
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    served = [file for file in folder.glob("*/anonymized.jpg") if file.read_bytes() == path.read_bytes()]
    assert served and all(len(file.parent.name) >= 22 for file in served)
    assert folder.stat().st_mode & 0o077 == 0
    guesses = [folder, served[0].parent, folder / "anonymized.jpg", f"{folder}/*/anonymized.jpg"]
    for guess in (*guesses, Path(__file__), "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{server}gradio_api/file={guess}")
        assert error.value.code in (403, 404)
    # Asked for by hand, because the client uploads what it can read itself.
    picture = folder.parent / f"{folder.name}.png"
    shutil.copy(head, picture)
    try:
        assert "event: error" in asked(server, picture)
        assert "event: error" in asked(server, folder / ".." / picture.name)
    finally:
        picture.unlink()
    assert "event: complete" in asked(server, uploaded(server, head))


def asked(server: str, photo: str | Path) -> str:
    """The events with which the endpoint answers."""
    sent = {"path": str(photo), "meta": {"_type": "gradio.FileData"}}
    data = [sent, 0, 0.2, 1, 1, 0.7, "blur", 0.1, 0.5, "face", "original", 0, False, None, None]
    event = httpx.post(f"{server}gradio_api/call/anonymize", json={"data": data}).json()["event_id"]
    return httpx.get(f"{server}gradio_api/call/anonymize/{event}", timeout=60).text


def uploaded(server: str, file: Path) -> str:
    (path,) = httpx.post(f"{server}gradio_api/upload", files={"files": file.open("rb")}).json()
    return path


def break_off(port: int) -> None:
    """An upload that ends in the middle."""
    with socket.create_connection(("127.0.0.1", port)) as broken:
        start = b'--b\r\nContent-Disposition: form-data; name="files"; filename="vadvarka.jpg"\r\n\r\n' + bytes(70_000)
        broken.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + start
        )
        time.sleep(0.5)


def test_what_visitors_send_is_gone_after_its_time(lenient, head):
    page, address = launch(lenient, lifetime=6, prevent_thread_lock=True, quiet=True)
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    try:
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        break_off(port)
        visitor = Client(address, verbose=False)
        assert visitor.predict(handle_file(head), api_name="/anonymize")[1]["faces"]
        assert len(files(folder)) >= 3  # the broken upload, the photo, the result
        deadline = time.monotonic() + 20
        while files(folder) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert files(folder) == []
        assert visitor.predict(handle_file(head), api_name="/anonymize")[1]["faces"]
    finally:
        page.close()


def files(folder: Path) -> list[Path]:
    """All but the example."""
    return [path for path in folder.rglob("*") if path.is_file() and "example" not in path.parts]


def test_language_models_are_served_too(server, head):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    photo = "data:image/png;base64," + base64.b64encode(head.read_bytes()).decode()

    async def call() -> tuple[list, str]:
        async with (
            streamablehttp_client(f"{server}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            result = await session.call_tool("anonymize", {"photo": photo, "seed": 4})
            return tools, result.content[0].text

    tools, answer = asyncio.run(call())
    assert {tool.name for tool in tools} == {"anonymize", "batch", "video"}
    assert all("Replaces every face" in tool.description for tool in tools)
    assert "anonymized.jpg" in answer and "'status': 'anonymized'" in answer


def test_a_gpu_is_lent_to_the_drawing_alone_and_what_it_is_told_can_be_sent_there(lenient, portrait, monkeypatch):
    # On ZeroGPU another process runs it: arguments and result are pickled.
    lent = []

    def elsewhere(function):
        def run(*arguments):
            lent.append(function.__name__)
            return pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(arguments)))))

        return run

    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=elsewhere))
    other = copy(lenient)
    lend_gpu(other)
    expected, there = (one(portrait, seed=0, output_type="np") for one in (lenient, other))
    assert expected.faces[0][0].status is FaceStatus.ANONYMIZED and set(lent) == {"sample"}
    assert np.array_equal(there.images[0], expected.images[0])


class Visitor:
    """Calls events as the page does, the unnamed ones, too."""

    def __init__(self, server: str, address: str | None = None) -> None:
        self.url, self.session = f"{server}gradio_api", os.urandom(8).hex()
        transport = httpx.HTTPTransport(local_address=address)
        self.http = httpx.Client(transport=transport, timeout=30, headers={"accept-language": "en"})
        config = self.http.get(f"{server}config").json()
        self.events = {event["id"]: event for event in config["dependencies"] if event["backend_fn"]}
        self.fields = {field["id"]: field for field in config["components"]}

    def kinds(self, event: int) -> list[str]:
        return [self.fields[field]["type"] for field in self.events[event]["inputs"]]

    def values(self, event: int, photo: str) -> list:
        """What the page would send: a photo, and every field as it is at first."""
        sent = {"path": photo, "meta": {"_type": "gradio.FileData"}}
        special = {"image": sent, "video": sent, "file": [sent], "state": None, "dataset": 0}
        fields = [self.fields[field] for field in self.events[event]["inputs"]]
        return [special.get(field["type"], field["props"].get("value")) for field in fields]

    def named(self, name: str) -> int:
        return next(number for number, event in self.events.items() if event["api_name"] == name)

    def after(self, element: str, kind: str) -> int:
        """The event of an element."""
        ids = {field["id"]: field["props"].get("elem_id") for field in self.fields.values()}
        return next(
            number
            for number, event in self.events.items()
            if any(ids.get(target) == element and how == kind for target, how in event["targets"])
        )

    def join(self, event: int, data: object, **more: object) -> httpx.Response:
        body = {"fn_index": event, "session_hash": self.session, "data": data, **more}
        content = json.dumps(body).replace('"1e400"', "1e400")
        return self.http.post(f"{self.url}/queue/join", content=content, headers={"content-type": "application/json"})

    def call(self, event: int, data: object, **more: object) -> dict:
        """What comes back: `output` and whether it is a `success`, or the `detail` of a refusal."""
        joined = self.join(event, data, **more).json()
        if "event_id" not in joined:
            return {"success": False, "output": {"error": joined["detail"]}}
        with self.http.stream("GET", f"{self.url}/queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                if line.startswith("data:") and "process_completed" in line:
                    return json.loads(line[5:])
        raise AssertionError("no answer")

    def error(self, event: int, data: object, **more: object) -> str:
        answer = self.call(event, data, **more)
        assert not answer["success"], (self.events[event]["targets"], data)
        return answer["output"]["error"]


@pytest.fixture(scope="module")
def visitor(server) -> Visitor:
    return Visitor(server)


@pytest.fixture
def unsent(head):
    """Paths that no visitor sent: outside of the folder, or no regular file; none may be opened."""
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    inside = Path(tempfile.mkdtemp(dir=folder))
    (inside / "link.png").symlink_to(head)
    (inside / "tty.png").symlink_to("/dev/ptmx")
    os.mkfifo(inside / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(inside / "socket.png"))
        yield [
            str(head), "/dev/ptmx", "/dev/zero", f"{inside}/link.png", f"{inside}/tty.png", f"{inside}/pipe.png",
            f"{inside}/socket.png", str(inside), f"{inside}/none.png", f"{folder}/../{head.name}", "/none/at/all.png",
            "", "a\0b", "http://127.0.0.1:9/photo.png", f"file://{head}", 7, None, ["/etc/passwd"],
        ]  # fmt: skip
    shutil.rmtree(inside)


def test_no_event_opens_a_file_that_was_not_sent(visitor, unsent):
    with_files = [event for event in visitor.events if {"image", "video", "file"} & set(visitor.kinds(event))]
    assert {visitor.events[event]["api_name"] for event in with_files} >= {"anonymize", "batch", "video"}
    assert len(with_files) == 8  # photo, photos, a video's length, preview, video and the three
    # A picture in a gallery is a path, too: none is read back.
    assert not any("gallery" in visitor.kinds(event) for event in visitor.events)
    said = set()
    for event in with_files:
        for path in unsent:
            for more in ({"meta": {"_type": "gradio.FileData"}}, {"url": "http://127.0.0.1:9/a.png"}, {}):
                data = visitor.values(event, "")
                for number, kind in enumerate(visitor.kinds(event)):
                    if kind in ("image", "video", "file"):
                        data[number] = [{"path": path, **more}] if kind == "file" else {"path": path, **more}
                said.add(visitor.error(event, data))
    assert said == {MESSAGES["en"]["not_sent"]}


def asked_by_model(
    server: str, arguments: object, name: str = "anonymize", method: str = "tools/call"
) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": name, "arguments": arguments}}
    headers = {"accept": "application/json, text/event-stream"}
    return httpx.post(f"{server}gradio_api/mcp/", json=body, headers=headers, timeout=30)


@pytest.mark.parametrize("argument", ["photo", "seed", "fallback"])
def test_language_models_cannot_name_files_either(server, unsent, argument):
    for path in unsent:
        named = {"path": path, "meta": {"_type": "gradio.FileData"}}
        answer = asked_by_model(server, {"photo": "data:image/png;base64,AAAA", argument: named})
        assert answer.status_code == 400 and answer.json() == {"detail": MESSAGES["en"]["not_sent"]}


def test_nothing_is_fetched_and_wrong_calls_of_language_models_are_not_logged(server, capfd, caplog):
    for arguments in (
        {"photo": "http://127.0.0.1:9/SECRET.png"}, {"photo": "SECRET"}, {"photo": "data:image/png;base64,SECRET"},
        {"photo": "data:image/png;base64,AAAA", "seed": "SECRET"}, {"none": "SECRET"}, {"photo": ["SECRET"]},
    ):  # fmt: skip
        assert '"isError":true' in asked_by_model(server, arguments).text
    assert "be used" in asked_by_model(server, {"photo": "http://127.0.0.1:9/SECRET.png"}).text
    assert '"isError":true' in asked_by_model(server, {}, "SECRET").text
    for answer in (asked_by_model(server, "SECRET"), asked_by_model(server, {}, method="SECRET")):
        assert answer.status_code == 400 and answer.json()["detail"]
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "SECRET" not in logged and "Traceback" not in logged


def test_what_language_models_send_stays_in_the_private_folder(server, head):
    def left() -> set[Path]:
        return {path for path in (Path(tempfile.gettempdir()) / "gradio").rglob("*") if path.is_file()}

    before = left()
    photo = "data:image/png;base64," + base64.b64encode(head.read_bytes() + os.urandom(8)).decode()
    assert "anonymized.jpg" in asked_by_model(server, {"photo": photo}).text and left() == before


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("slider", ["1e400", -0.1, 1.5, 10**30, "1", True, None, [], {}]),
        ("number", ["1e400", -1, 2**63, 10**400, "1", True, [0], {}]),
        ("checkbox", [1, "yes", None, []]),
        ("dropdown", ["nobody", 1, None, [], ["blur"], {}]),
        (
            "json",
            ["1", 7, {}, [[0, 0, 1]], [[0, 0, "1", 1]], [[0, 0, True, 1]], [["1e400", 0, 1, 1]], [[0, 0, 1, 1]] * 200],
        ),
        ("dataset", [4, -1, None, "0", True, 0.0]),
    ],
)
def test_every_event_checks_every_value(visitor, server, head, kind, bad):
    photo = uploaded(server, head)
    told = 0
    for event in visitor.events:
        for number, field in enumerate(visitor.kinds(event)):
            # All of them at one event, and one of them at each field of the others.
            every = kind == "dataset" or visitor.events[event]["api_name"] == "video"
            for value in bad if every else bad[told % len(bad) :][:1]:
                if field == kind:
                    data = visitor.values(event, photo)
                    data[number] = value
                    assert "not a value" in visitor.error(event, data), (visitor.events[event]["targets"], value)
                    told += 1
    assert told >= len(bad)


def test_a_wrong_call_is_answered_in_words(visitor, server, head, capfd, caplog):
    photo = uploaded(server, head)
    whole = {event: visitor.values(event, photo) for event in visitor.events}
    for number, (event, data) in enumerate(whole.items()):
        wrongs = [wrong for wrong in ([*data, "SECRET" * 100], [], data[:-1]) if wrong != data]
        # All of them at one event, and one of them at each of the others.
        for wrong in wrongs if event == visitor.named("video") else wrongs[number % len(wrongs) :][:1]:
            assert "values, not" in visitor.error(event, wrong)
        if set(visitor.kinds(event)) - {"state"}:
            assert visitor.error(event, [{"a": "SECRET"}] * len(data))
    opened = visitor.after("photo", "change")
    seen = view(visitor.call(opened, whole[opened]))
    token, faces = seen["token"], seen["faces_token"]
    select = visitor.after("faces", "select")
    for event_data in (None, {}, [], *({"index": index, "value": faces} for index in (1, -1, "0", 1e300, [0], None))):
        assert visitor.error(select, whole[select], event_data=event_data)
    assert view(visitor.call(select, whole[select], event_data={"index": 0, "value": faces}))["chosen"] == 0
    drawn = visitor.after("result", "input")
    for box in (None, {}, 7, [0, 0, 1], [0, 0, "1", 1], [0, 0, 2, 1], [0.5, 0, 0.2, 1], [0, 0, True, 1]):
        assert visitor.error(drawn, whole[drawn], event_data={"index": box, "value": token})
    assert view(visitor.call(drawn, whole[drawn], event_data={"index": [0, 0, 0.1, 0.1], "value": token}))["zones"]
    for event in (-1, 10**6, "photo", None):
        answer = visitor.join(event, [])
        assert 400 <= answer.status_code < 500 and answer.json()["detail"]
    for path in (
        "call/none", "call/v2/none", "run/anonymize", "api/anonymize", "process_recording", "component_server",
        "vibe-edit", "stream/0", "none",
    ):  # fmt: skip
        answer = visitor.http.post(f"{visitor.url}/{path}", json={"data": whole[visitor.named("anonymize")]})
        assert 400 <= answer.status_code < 500 and answer.json()["detail"], path
    for content in (b"", b"{", b"[" * 100_000, b'{"data": [NaN]}', b"\xff"):
        answer = visitor.http.post(f"{visitor.url}/call/anonymize", content=content)
        assert 400 <= answer.status_code < 500 and answer.json()["detail"]
    for path in ("queue/data?session_hash=SECRET", "call/anonymize/SECRET"):
        assert "Not Found" in visitor.http.get(f"{visitor.url}/{path}").text
    for path in ("deep_link?session_hash=SECRET", "proxy=http://127.0.0.1:9/SECRET", "custom_component/SECRET/a/b/c"):
        assert visitor.http.get(f"{visitor.url}/{path}").status_code == 404
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "SECRET" not in logged and "Traceback" not in logged


def view(answer: dict) -> dict:
    """What the page shows of a photo after an event."""
    assert answer["success"], answer
    return next(value for value in answer["output"]["data"] if isinstance(value, dict) and "token" in value)


def test_what_was_chosen_for_one_photo_changes_nothing_of_the_next(visitor, server, head):
    photo = uploaded(server, head)

    def act(element: str, kind: str, face: str = "", **more: object) -> dict:
        event = visitor.after(element, kind)
        data = visitor.values(event, photo)
        for number, field in enumerate(visitor.kinds(event)):
            if field == "textbox":
                data[number] = face
            if field == "checkbox" and element == "keep" and number == 2:
                data[number] = True
        return visitor.call(event, data, **more)

    def statuses(answer: dict) -> list[str]:
        return [face["status"] for face in view(answer)["faces"]]

    first = view(act("photo", "change"))["faces_token"]
    assert statuses(act("keep", "input", f"{first}.0")) == ["is-kept"]
    suggested = act("variants", "click", f"{first}.0")
    assert statuses(suggested) == ["is-new"] and view(suggested)["faces_token"] == first
    second = act("photo", "change")
    assert statuses(second) == ["is-new"] and view(second)["faces_token"] != first
    for answer in (
        act("keep", "input", f"{first}.0"), act("renew", "click", f"{first}.0"), act("variants", "click", ""),
        act("several", "select", f"{first}.0", event_data={"index": 2, "value": None}),
        act("several", "select", f"{view(second)['faces_token']}.0", event_data={"index": 2, "value": None}),
        act("faces", "select", event_data={"index": 0, "value": first}),
    ):  # fmt: skip
        assert answer["success"] and "token" not in str(answer["output"]["data"])
    assert statuses(act("light", "change")) == ["is-new"]


def test_a_request_cannot_be_of_any_length_and_is_not_logged(visitor, server, capfd, caplog):
    data = ["x" * MAX_JSON]
    for path in ("call/anonymize", "queue/join", "cancel", "reset"):
        for content in (json.dumps({"data": data}).encode(), iter([b"x" * 2**16] * 5)):  # of a stated length or not
            answer = httpx.post(f"{visitor.url}/{path}", content=content)
            assert answer.status_code == 413 and answer.json()["detail"] == MESSAGES["en"]["too_large"]
    assert "values, not" in visitor.error(visitor.named("anonymize"), ["x" * (MAX_JSON // 2)])
    assert len("".join(capfd.readouterr()) + caplog.text) < 1000


def test_a_damaged_upload_is_not_named_in_the_log(visitor, server, client, clip, tmp_path, capfd, caplog):
    for name, content in (
        ("anna-vadvarka.jpg", b"no picture"),
        ("anna-vadvarka.png", b"\x89PNG\r\n\x1a\n" + bytes(99)),
        ("anna-vadvarka.mp4", clip.read_bytes()[:2000]),
    ):
        (tmp_path / name).write_bytes(content)
        path = uploaded(server, tmp_path / name)
        for event in visitor.events:
            if {"image", "video"} & set(visitor.kinds(event)):
                output = visitor.call(event, visitor.values(event, path))["output"]
                shown = [output["error"]] if "error" in output else output["data"]
                assert "vadvarka" not in str([text for text in shown if type(text) is str])
        visitor.call(visitor.named("batch"), visitor.values(visitor.named("batch"), path))
    late = uploaded(server, clip)
    data = visitor.values(visitor.named("video"), late)
    data[1] = 50
    assert visitor.error(visitor.named("video"), data) == MESSAGES["en"]["starts_late"]
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "vadvarka" not in logged and "Traceback" not in logged


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(other, marks=pytest.mark.slow) for other in (signal.SIGHUP, signal.SIGINT))],
)
def test_what_visitors_sent_is_gone_with_the_server_and_its_log_names_none(head, tmp_path, number):
    (tmp_path / "vadvarka.jpg").write_bytes(head.read_bytes()[:2000])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "faceanon_hub", "app", "--port", str(port)]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            until = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until:
                with socket.socket() as knock:
                    if knock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.2)
            client = Client(f"http://127.0.0.1:{port}", verbose=False, download_files=str(tmp_path / "down"))
            client.predict(handle_file(head), api_name="/anonymize")
            with pytest.raises(AppError, match="cannot be used"):
                client.predict(handle_file(tmp_path / "vadvarka.jpg"), api_name="/anonymize")
            break_off(port)
            kept = [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
            assert len(kept) > 2
        finally:
            process.send_signal(number)
            process.wait(timeout=30)
    assert not [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
    logged = (tmp_path / "log").read_text()
    assert "vadvarka" not in logged and str(tmp_path) not in logged and "Traceback" not in logged


def test_cancelled_jobs_do_not_take_their_turn(visitor, server, head, held, monkeypatch):
    runs = []
    call = FaceAnonPipeline.__call__
    monkeypatch.setattr(FaceAnonPipeline, "__call__", lambda *args, **kw: [runs.append(1), call(*args, **kw)][1])
    photo = uploaded(server, head)
    event = visitor.named("anonymize")
    for _ in range(20):
        another = copy(visitor)
        another.session = os.urandom(8).hex()
        told = {"session_hash": another.session, "fn_index": event}
        told["event_id"] = another.join(event, another.values(event, photo)).json()["event_id"]
        time.sleep(0.05)  # it has its turn, and waits for the painter
        assert another.http.post(f"{another.url}/cancel", json=told).json() == {"success": True}
    threading.Timer(0.5, held.set).start()
    assert visitor.call(event, visitor.values(event, photo))["success"]
    assert len(runs) == 1


def test_one_address_cannot_fill_the_queue(visitor, server, head, held):
    photo = uploaded(server, head)
    event = visitor.named("anonymize")
    data, sessions = visitor.values(event, photo), []

    def join(who: Visitor) -> httpx.Response:
        another = copy(who)
        another.session = os.urandom(8).hex()
        answer = another.join(event, data)
        if answer.status_code == 200:
            sessions.append((another, answer.json()["event_id"]))
        return answer

    answers = [join(visitor) for _ in range(MAX_WAITING + 3)]
    assert [answer.status_code for answer in answers] == [200] * MAX_WAITING + [503] * 3
    assert answers[-1].json() == {"detail": MESSAGES["en"]["busy"]}
    assert join(Visitor(server, "127.0.0.2")).status_code == 200
    for another, event_id in reversed(sessions):
        told = {"session_hash": another.session, "fn_index": event, "event_id": event_id}
        another.http.post(f"{another.url}/cancel", json=told)
    held.set()
    assert visitor.call(event, data)["success"]


def test_a_job_has_a_time_limit(lenient, head, clip, monkeypatch):
    monkeypatch.setattr(endpoints, "BATCH_LIMIT", 0.5)
    page, address = launch(lenient, prevent_thread_lock=True, quiet=True)
    try:
        visitor = Visitor(address)
        event = visitor.named("batch")
        data = visitor.values(event, uploaded(address, head))
        assert visitor.call(event, data)["success"]
        data[0] *= 40
        start = time.monotonic()
        assert visitor.error(event, data) == MESSAGES["en"]["stopped"]
        film = visitor.named("video")
        assert visitor.error(film, visitor.values(film, uploaded(address, clip))) == MESSAGES["en"]["stopped"]
        assert time.monotonic() - start < 10
    finally:
        page.close()
