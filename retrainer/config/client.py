"""Which of kafka-python's settings a configuration may give, and which are retrainer's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from retrainer.config.notation import as_text
from retrainer.config.section import Misfit
from retrainer.config.suggest import did_you_mean

CLIENT_KEYS: Final = frozenset(
    {
        "bootstrap_timeout_ms",
        "client_dns_lookup",
        "client_id",
        "client_rack",
        "connections_max_idle_ms",
        "fetch_max_bytes",
        "fetch_max_wait_ms",
        "fetch_min_bytes",
        "heartbeat_interval_ms",
        "max_in_flight_requests_per_connection",
        "max_partition_fetch_bytes",
        "max_poll_interval_ms",
        "metadata_max_age_ms",
        "proxy_url",
        "receive_buffer_bytes",
        "receive_message_max_bytes",
        "reconnect_backoff_max_ms",
        "reconnect_backoff_ms",
        "request_timeout_ms",
        "retry_backoff_ms",
        "sasl_kerberos_domain_name",
        "sasl_kerberos_name",
        "sasl_kerberos_service_name",
        "sasl_mechanism",
        "sasl_plain_password",
        "sasl_plain_username",
        "security_protocol",
        "send_buffer_bytes",
        "session_timeout_ms",
        "socks5_proxy",
        "ssl_cafile",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_crlfile",
        "ssl_keyfile",
        "ssl_password",
    }
)
"""kafka-python's security and network settings that are plain values."""

OWNED_KEYS: Final = frozenset(
    {
        "allow_auto_create_topics",
        "auto_commit_interval_ms",
        "auto_offset_reset",
        "bootstrap_servers",
        "check_crcs",
        "consumer_timeout_ms",
        "default_offset_commit_callback",
        "enable_auto_commit",
        "enable_incremental_fetch_sessions",
        "exclude_internal_topics",
        "group_id",
        "group_instance_id",
        "isolation_level",
        "key_deserializer",
        "max_poll_records",
        "partition_assignment_strategy",
        "value_deserializer",
    }
)
"""kafka-python's settings on which the promises of retrainer rest."""

_CREDENTIALS: Final = frozenset({"sasl_plain_username", "sasl_plain_password", "ssl_password"})


def _check_client_key(key: str) -> str:
    if key in OWNED_KEYS:
        raise ValueError("expected a security or network setting: this one belongs to retrainer")
    if key not in CLIENT_KEYS:
        raise ValueError(
            f"expected one of kafka-python's security and network settings{did_you_mean(key, CLIENT_KEYS)}"
        )
    return key


def _check_client_value(value: object) -> str | int | float | bool:
    if not isinstance(value, str | int | float):
        raise ValueError("expected text, a number or a boolean")
    return value


def _credential(key: str, value: object) -> str:
    try:
        return as_text(value)
    except ValueError as error:
        raise Misfit(key, str(error)) from None


def _credentials_are_text(client: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: _credential(key, value) if key in _CREDENTIALS else value for key, value in client.items()}


ClientValue = Annotated[
    str | int | float | bool,
    PlainValidator(_check_client_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Client = Annotated[
    Mapping[Annotated[str, AfterValidator(_check_client_key)], ClientValue], AfterValidator(_credentials_are_text)
]
