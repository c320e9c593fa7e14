#!/usr/bin/env python3
"""Traces as OpenTelemetry's own messages read them: a receiver made from PyPI's opentelemetry-proto.

    tests/conformance/traces.py target/release/weir
"""

import http.server
import json
import os
import sys
import threading
import urllib.request

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from served import ROOT, Tally, Weir

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes exports at /v1/traces."""

    exports, arrived = [], threading.Condition()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.arrived:
            self.exports.append((self.path, self.headers["content-type"], ExportTraceServiceRequest.FromString(body)))
            self.arrived.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def spans():
    return [span for _, _, export in Collector.exports for resource in export.resource_spans
            for scope in resource.scope_spans for span in scope.spans]


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def ask(base, body, headers):
    request = urllib.request.Request(base + "/predict", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer), answer.headers


def main():
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    os.environ.update({
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_SERVICE_NAME": "digits", "OTEL_RESOURCE_ATTRIBUTES": "zone=a%20b",
    })
    tally, weir = Tally(), Weir(sys.argv[1])
    seven = (ROOT / "data" / "seven.png").read_bytes()
    answer, headers = ask(weir.base, seven, {"traceparent": f"00-{TRACE}-{PARENT}-01", "content-type": "image/png"})
    with Collector.arrived:
        Collector.arrived.wait_for(lambda: any(span.name.startswith("predict") for span in spans()), timeout=60)
    weir.stop()
    path, media, export = Collector.exports[0]
    tally.check("the path and the media type are OTLP's", (path, media) == ("/v1/traces", "application/x-protobuf"))
    resource = attributes(export.resource_spans[0].resource.attributes)
    tally.check("the resource has name and attributes",
                resource.get("service.name") == "digits" and resource.get("zone") == "a b", str(resource))
    whole = next(span for span in spans() if span.name == "predict mnist-mlp")
    tally.check("the span continues the caller's trace",
                (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT), str(whole))
    tally.check("the answer names the span", headers["traceresponse"] == f"00-{TRACE}-{whole.span_id.hex()}-01")
    tally.check("it is a server's, and no error",
                whole.kind == Span.SPAN_KIND_SERVER and whole.status.code != Status.STATUS_CODE_ERROR)
    found = attributes(whole.attributes)
    tally.check("its attributes say what was asked",
                found["weir.request_id"] == answer["request_id"] and found["weir.model"] == "mnist-mlp"
                and found["weir.version"] == 1 and found["weir.samples"] == 1 and found["weir.cached"] is False
                and found["weir.outcome"] == "success", str(found))
    stages = [span for span in spans() if span.parent_span_id == whole.span_id]
    tally.check("the stages are inside", {"decode", "infer"} <= {span.name for span in stages} and all(
        whole.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= whole.end_time_unix_nano
        and span.kind == Span.SPAN_KIND_INTERNAL for span in stages), str(stages))
    tally.close()


if __name__ == "__main__":
    main()
