"""py_eureka_client on a clock of seconds: PORT URL APP. GET /seen/{app} tells what it holds of an application."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from py_eureka_client import eureka_client


def main(port: int, url: str, app: str) -> None:
    client = eureka_client.init(
        eureka_server=url,
        app_name=app,
        instance_id=f"127.0.0.1:{app}:{port}",
        instance_host="127.0.0.1",
        instance_ip="127.0.0.1",
        instance_port=port,
        vip_adr=app,
        secure_vip_addr=app,
        metadata={"team": "blue & <green>", "my_key": "1"},
        renewal_interval_in_secs=1,
        duration_in_secs=10,
    )
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=_leave).start())
    ThreadingHTTPServer(("127.0.0.1", port), _handler(client)).serve_forever()


def _leave() -> None:
    eureka_client.stop()
    # Its heartbeat thread never ends and would register again: the process has to.
    os._exit(0)


def _handler(client: eureka_client.EurekaClient) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/stop":
                eureka_client.stop()
            body = json.dumps(_seen(client, self.path.rpartition("/")[2])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The log is the client's."""

    return Handler


def _seen(client: eureka_client.EurekaClient, app: str) -> list[dict[str, object]]:
    return [
        {"id": one.instanceId, "host": one.ipAddr, "port": one.port.port, "metadata": dict(one.metadata)}
        for one in client.applications.get_application(app.upper()).up_instances
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
