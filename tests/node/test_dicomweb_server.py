"""Tests of the web server as it runs: dicomweb-client and hostile clients against its own process."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import trustme
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_auth, create_session_from_user_pass
from pydicom import dcmread
from requests.auth import AuthBase

from node.dicomweb.process import WebReceiver
from node.intake.intake import Arrival
from node.settings.config import Config
from node.storage.spool import SeriesKey, Spool
from tests.builders import real_images, series
from tests.harness import wait_until

pytestmark = pytest.mark.alone

TOKEN = "a-token-of-some-length"
PASSWORD = "a-password-with-ü"


class Bearer(AuthBase):
    """Sends a token."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@dataclass
class Serving:
    """A web server, and what the node heard of it."""

    receiver: WebReceiver
    spool: Spool
    scheme: str
    arrivals: list[Arrival] = field(default_factory=list)
    released: list[frozenset[SeriesKey]] = field(default_factory=list)
    recovered: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where instances go."""
        return f"{self.scheme}://localhost:{self.receiver.port}/dicom-web"

    def client(self, session: requests.Session | None = None) -> DICOMwebClient:
        """Make a client that shows the token unless told otherwise."""
        return DICOMwebClient(self.url, session or create_session_from_auth(Bearer()))

    def connect(self) -> socket.socket:
        """Open a connection and say nothing."""
        return socket.create_connection(("127.0.0.1", self.receiver.port), 10)


Serve = Callable[..., Serving]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start web servers; they stop with the test."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(clients: list[dict[str, Any]] | None = None, **web: Any) -> Serving:
        settings = {
            "receive": {"promiscuous": True},
            "spool": {"folder": str(tmp_path / "spool"), "minimum_free": 0},
            "audit": {"file": str(tmp_path / "audit.jsonl")},
            "dicomweb": {
                "enabled": True,
                "port": 0,
                "clients": clients or [{"ae_title": "APP", "token": TOKEN}],
            }
            | web,
        }
        config = Config.model_validate(settings)
        scheme = "https" if "certificate" in web else "http"
        arrivals: list[Arrival] = []
        released: list[frozenset[SeriesKey]] = []
        recovered: list[int] = []

        def recover() -> int:
            recovered.append(1)
            return 0

        receiver = WebReceiver(config, arrivals.append, released.append, recover)
        receiver.listen()
        thread = threading.Thread(target=receiver.run, args=(stop,))
        thread.start()
        threads.append(thread)
        return Serving(receiver, Spool(tmp_path / "spool", 0), scheme, arrivals, released, recovered)

    yield start
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def web_process() -> psutil.Process:
    """Return the process that serves."""
    [found] = [
        each for each in psutil.Process().children() if any("spawn_main" in word for word in each.cmdline())
    ]
    return found


def test_dicomweb_client_stores_every_real_image(serve: Serve) -> None:
    """What dicomweb-client sends is answered per instance, told to the node, and lies in the spool."""
    node = serve()
    data_sets = [dcmread(path) for path in real_images()]
    answer = node.client().store_instances(data_sets)
    stored = [str(each.ReferencedSOPInstanceUID) for each in answer.ReferencedSOPSequence]
    uids = [str(each.SOPInstanceUID) for each in data_sets]
    assert stored == uids
    assert "FailedSOPSequence" not in answer
    assert {each.stored.sop_instance_uid for each in node.arrivals} == set(uids)
    assert {each.calling_ae_title for each in node.arrivals} == {"APP"}
    assert wait_until(lambda: node.released, "the end of the request was told")[0] == {
        each.stored.key for each in node.arrivals
    }
    assert all(node.spool.path(each.stored.path).is_file() for each in node.arrivals)


def test_who_may_store_is_asked_first(serve: Serve, tmp_path: Path) -> None:
    """A token, a file's token, user and password, address: each stands for its AE title; others get 401."""
    (tmp_path / "secret").write_text("another-token-from-a-file\n")
    node = serve(
        [
            {"ae_title": "ELSEWHERE", "token": TOKEN, "hosts": ["10.0.0.0/8"]},
            {"ae_title": "APP1", "token": TOKEN},
            {"ae_title": "APP2", "token_file": str(tmp_path / "secret")},
            {"ae_title": "APP3", "user": "app3", "password": PASSWORD},
        ]
    )
    files = [dcmread(path) for path in series(tmp_path / "in", n=3)]
    basic = create_session_from_user_pass("app3", PASSWORD.encode().decode("latin-1"))
    sessions = [requests.Session(), requests.Session(), basic]
    sessions[0].auth, sessions[1].auth = Bearer(), Bearer("another-token-from-a-file")
    for session, data_set in zip(sessions, files, strict=True):
        node.client(session).store_instances([data_set])
    assert [each.calling_ae_title for each in node.arrivals] == ["APP1", "APP2", "APP3"]
    for bad in (None, Bearer("wrong"), Bearer(""), ("app3", "wrong"), ("app3", TOKEN)):
        answer = requests.post(f"{node.url}/studies", auth=bad, data=b"", timeout=100)
        assert answer.status_code == 401
        assert "Basic" in answer.headers["WWW-Authenticate"]
        assert TOKEN not in answer.text
    audited = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    transfers = [each for each in audited if "source" in each]  # some twice, where a client lost its patience
    assert [*dict.fromkeys(each["source"]["ae_title"] for each in transfers)] == ["APP1", "APP2", "APP3"]
    codes = [each["code"] for each in transfers]
    assert codes.count("110102") == codes.count("110104") == len(codes) / 2
    refused = [each["event"] for each in audited if "source" not in each]
    assert refused == ["Node Authentication"] * 5


def test_requests_that_are_none_get_their_status(serve: Serve) -> None:
    """Wrong types, encodings, answers, studies, sizes and paths are told apart."""
    node = serve(maximum_request_bytes=5000, maximum_instances=2)
    related = 'multipart/related; type="application/dicom"; boundary=x'
    cases = [
        ("/studies", {"Content-Type": "application/json"}, b"{}", 415),
        (
            "/studies",
            {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=x'},
            b"",
            415,
        ),
        ("/studies", {"Content-Type": "multipart/related"}, b"", 400),
        ("/studies", {"Content-Type": related, "Content-Encoding": "gzip"}, b"", 415),
        ("/studies", {"Content-Type": related, "Accept": "text/html"}, b"", 406),
        ("/studies", {"Content-Type": related}, b"--x--", 400),
        ("/studies", {"Content-Type": related}, b"--x\r\n\r\n" + b"y" * 6000, 413),
        ("/studies", {"Content-Type": related}, b"--x\r\n\r\n\r\n" * 3 + b"--x--", 413),
        ("/studies/no-uid", {"Content-Type": related}, b"", 400),
        ("/elsewhere", {}, b"", 404),
        ("/docs", {}, b"", 404),
    ]
    for path, headers, data, expected in cases:
        answer = requests.post(node.url + path, auth=Bearer(), headers=headers, data=data, timeout=100)
        assert answer.status_code == expected, (path, headers, answer.text)
    streamed = requests.post(
        f"{node.url}/studies",
        auth=Bearer(),
        headers={"Content-Type": related},
        data=iter([b"--x\r\n\r\n", *[b"y" * 1000] * 8]),
        timeout=100,
    )
    assert streamed.status_code == 413
    assert requests.get(f"{node.url}/studies", auth=Bearer(), timeout=100).status_code == 405


def test_silent_clients_are_cut_and_do_not_hold_up_others(serve: Serve, tmp_path: Path) -> None:
    """Connections without a request end at the deadline; one address has a limited number of them."""
    node = serve(header_timeout_s=2, maximum_connections_per_address=5, idle_timeout_s=2)
    client = node.client()
    client.store_instances([dcmread(series(tmp_path / "in", n=1)[0])])
    silent = [node.connect() for _ in range(5)]
    with closing(node.connect()) as refused:
        assert refused.recv(1) == b""
    for each in silent:
        with closing(each):
            assert each.recv(1) == b""
    assert wait_until(lambda: accepted(client, tmp_path), "there is room again")
    with closing(node.connect()) as dripping:
        dripping.sendall(
            b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode()
            + b'\r\nContent-Type: multipart/related; type="application/dicom"; boundary=x\r\n'
            + b"Content-Length: 100\r\n\r\n--x\r\n"
        )  # fmt: skip
        assert dripping.recv(100).startswith(b"HTTP/1.1 408")


def accepted(client: DICOMwebClient, folder: Path) -> bool:
    """Tell whether an instance is taken now."""
    try:
        client.store_instances([dcmread(series(folder / "again", n=1)[0])])
    except requests.ConnectionError:
        return False
    return True


def test_memory_stays_small_for_a_large_request(serve: Serve) -> None:
    """Of 600 MB of one instance only a few MB lie in memory: the rest goes to the disk as it comes."""
    node = serve()
    head = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + b"\0" * 128 + b"DICM"
    requests.post(f"{node.url}/studies", data=b"", timeout=100)
    process = web_process()
    before, most = process.memory_info().rss, 0

    def pieces() -> Iterator[bytes]:
        nonlocal most
        yield head
        for _ in range(600):
            most = max(most, process.memory_info().rss)
            yield bytes(1_000_000)
        yield b"\r\n--x--\r\n"

    related = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    answer = requests.post(f"{node.url}/studies", auth=Bearer(), headers=related, data=pieces(), timeout=200)
    assert answer.status_code == 400
    assert most - before < 50e6


def test_a_killed_server_is_started_again(serve: Serve, tmp_path: Path) -> None:
    """When its process dies, the node looks what it left, and the next request is answered."""
    node = serve()
    files = [dcmread(path) for path in series(tmp_path / "in", n=2)]
    node.client().store_instances(files[:1])
    web_process().kill()
    node.client().store_instances(files[1:])
    assert node.recovered == [1]
    assert len(node.arrivals) == 2


def test_tls_and_client_certificates(serve: Serve, tmp_path: Path) -> None:
    """With certificate and key TLS 1.2 and later; with client_ca only for holders of a certificate."""
    authority = trustme.CA()
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "server", "client")}
    authority.cert_pem.write_to_path(str(paths["ca"]))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(paths["server"]))
    authority.issue_cert("app").private_key_and_cert_chain_pem.write_to_path(str(paths["client"]))
    server = str(paths["server"])
    node = serve(certificate=server, key=server, client_ca=str(paths["ca"]), header_timeout_s=2)
    [data_set] = [dcmread(path) for path in series(tmp_path / "in", n=1)]
    session = create_session_from_auth(Bearer())
    session.verify, session.trust_env = str(paths["ca"]), False
    with pytest.raises(requests.ConnectionError):
        session.post(f"{node.url}/studies", timeout=100)
    session.cert = str(paths["client"])
    assert len(node.client(session).store_instances([data_set]).ReferencedSOPSequence) == 1
    with closing(node.connect()) as silent:
        assert silent.recv(1) == b""
    old = ssl.create_default_context(cafile=str(paths["ca"]))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), closing(node.connect()) as plain:
        old.wrap_socket(plain, server_hostname="localhost")
