"""The page's process as it runs: TLS, silent and slow clients, a kill, and the first password of a node."""

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import psutil
import requests
import trustme

from db.session import migrate
from tests.harness import free_port, make_node, running, wait_until
from tests.web.serving import is_alive, page_config, serving


def ended(connection: socket.socket) -> bool:
    """Wait until the page ends a connection; fail when it does not."""
    connection.settimeout(60)
    with suppress(ConnectionResetError):
        while connection.recv(4096):
            pass
    return True


def test_tls_and_what_browsers_are_told_with_it(tmp_path: Path) -> None:
    """With a certificate cookies are for this host over TLS, and browsers remember."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    for name, blob in (("cert.pem", issued.cert_chain_pems[0]), ("key.pem", issued.private_key_pem)):
        blob.write_to_path(tmp_path / name)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    web = {"port": 0, "certificate": "cert.pem", "key": "key.pem"}
    config = page_config(tmp_path, web=web)
    migrate(config.database.url)
    with serving(config) as url:
        answer = requests.get(f"{url}/login", timeout=60, verify=str(tmp_path / "ca.pem"))
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert "__Host-bodytag-login=" in answer.headers["set-cookie"]
        assert "Secure" in answer.headers["set-cookie"]


def test_silence_is_ended_and_a_killed_process_comes_back(tmp_path: Path) -> None:
    """Nobody holds a connection without asking, not before the first request nor after one."""
    config = page_config(tmp_path, web={"port": 0, "header_timeout_s": 2, "maximum_request_bytes": 2048})
    migrate(config.database.url)
    with serving(config) as url:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        with socket.create_connection(address, 60) as silent:
            silent.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            assert ended(silent)
        with socket.create_connection(address, 60) as dripping:
            dripping.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert dripping.recv(65536).startswith(b"HTTP/1.1 200")
            dripping.sendall(b"GET /healthz HTTP/1.1\r\n")
            assert ended(dripping)
        large = requests.post(f"{url}/login", data={"name": "x" * 4096}, timeout=60)
        assert large.status_code == 413
        (process,) = [each for each in psutil.Process().children() if _listens(each, address[1])]
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: is_alive(url), "the page is back")


def _listens(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):
        return any(each.laddr.port == port for each in process.net_connections() if each.status == "LISTEN")
    return False


def test_a_node_prints_the_first_password_once(tmp_path: Path) -> None:
    """The password stands on the standard output of the first start, not in the log's lines or the trail."""
    node = make_node(tmp_path, web={"enabled": True, "port": free_port()})
    url = f"http://127.0.0.1:{node.settings['web']['port']}"
    said = "Log in as 'admin', once, with the password "
    for _ in range(2):
        with running(node):
            wait_until(lambda: is_alive(url), "the page answers")
            assert requests.get(f"{url}/readyz", timeout=60).text == "ready\n"
    text = node.log.read_text()
    assert text.count(said) == 1
    password = text.split(said)[1].split()[0]
    assert text.count(password) == 1
    assert password not in (tmp_path / "audit.jsonl").read_text()
