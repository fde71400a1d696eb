"""A fake OpenTelemetry collector over real HTTP, and the spans that it received.

`opentelemetry-proto` reads what smshook sends: a field with a wrong name or type is an error there.
"""

import base64
import json

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

#: OTLP writes these in hexadecimal, where the JSON of Protocol Buffers has base64
#: (opentelemetry.io/docs/specs/otlp, JSON Protobuf Encoding).
_IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def parsed(body):
    """Return a request as the library reads it. It refuses unknown fields."""
    return ParseDict(_with_base64(json.loads(body)), ExportTraceServiceRequest())


def _with_base64(value):
    if isinstance(value, list):
        return [_with_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {}
    for name, item in value.items():
        plain[name] = _with_base64(item)
        if name in _IDS:
            raw = bytes.fromhex(item)
            assert len(raw) == _IDS[name]
            plain[name] = base64.b64encode(raw).decode()
    return plain


def spans(requests):
    """Return all spans of requests, as the library reads them."""
    return [
        span
        for request in requests
        for resource in parsed(request.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attributes(span):
    """Return the attributes of a span or resource by name."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def seconds(span):
    """Return the beginning and the end of a span, in seconds since the epoch."""
    return span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9


def linked(span):
    """Return the names of the spans that it is linked to."""
    return [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
