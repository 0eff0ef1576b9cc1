"""A Hub on 127.0.0.1: what huggingface_hub and diffusers ask of the real one, with repositories in memory."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

import yaml

OWNER = "hf_owner"  # the only token that may write, and read what is private
ADDRESS = re.compile(r"(?:/api/models|/api/spaces|/spaces)?/([^/]+/[^/]+)(?:/([a-z]+)/([^/]+)(?:/(.+))?)?")


class Repo:
    """The files of each commit, and the newest commit of each branch."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.commit({}, "main")

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.branches["main"]]

    def commit(self, changed: dict[str, bytes], branch: str) -> str:
        name = _hash(b"commit %d" % len(self.commits))
        self.commits[name] = {**(self.files if self.commits else {}), **changed}
        self.branches[branch] = name
        return name


class LoopbackHub:
    """A context manager: serves on a port of its own until `stop` or its end."""

    def __enter__(self) -> Self:
        self.repos: dict[str, Repo] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.repos = self.repos
        self._server.url = self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Connections are refused from here on; a second call does nothing."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    # Under HTTP/1.0 each answer ends its connection, so none outlives the server.
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802
        name, action, commit, file = self._find()
        if commit is None:
            return
        files = self.server.repos[name].commits[commit]
        if action == "tree":
            self._json([{"type": "file", "path": f, "size": len(c), "oid": _hash(c)} for f, c in files.items()])
        elif action != "resolve":
            self._json({"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]})
        elif file in files:
            self._send(200, files[file], {"ETag": f'"{_hash(files[file])}"', "X-Repo-Commit": commit})
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/validate-yaml":
            matter = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.DOTALL)
            valid = matter is not None and isinstance(yaml.safe_load(matter[1]), dict)
            return self._json({} if valid else {"errors": [{"message": "no front matter"}]}, 200 if valid else 400)
        if not self._owner:
            return self._send(401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            status = 409 if name in self.server.repos else 200
            self.server.repos.setdefault(name, Repo(asked.get("visibility") == "private"))
            return self._json({"url": f"{self.server.url}/{name}"}, status)
        name, action, commit, _ = self._find()
        if commit is None:
            return None
        if action == "preupload":  # "regular": weights, too, travel inside the commit
            paths = [file["path"] for file in json.loads(body)["files"]]
            return self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        entries = [json.loads(line) for line in body.splitlines()]
        files = [entry["value"] for entry in entries if entry["key"] == "file"]
        repo, home = self.server.repos[name], f"{self.server.url}/{name}"
        number = len(repo.commits)
        branch = f"refs/pr/{number}" if self.path.endswith("?create_pr=1") else "main"
        commit = repo.commit({file["path"]: base64.b64decode(file["content"]) for file in files}, branch)
        answer = {"commitUrl": f"{home}/commit/{commit}", "commitOid": commit}
        return self._json({**answer, "pullRequestUrl": f"{home}/discussions/{number}"})

    @property
    def _owner(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {OWNER}"

    def _find(self) -> tuple[str, str | None, str | None, str | None]:
        """Repository, what is asked of it, commit and file; without the commit the request has been refused."""
        match = ADDRESS.fullmatch(urlsplit(self.path).path)
        parts = match.groups() if match else [None] * 4
        name, action, revision, file = (part and unquote(part) for part in parts)
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and not self._owner):
            self._send(404 if self._owner else 401, b"", {"X-Error-Code": "RepoNotFound"})
            return name, action, None, file
        commit = repo.branches.get(revision or "main", revision)
        if commit not in repo.commits:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            commit = None
        return name, action, commit, file

    def _json(self, answer: object, status: int = 200) -> None:
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
