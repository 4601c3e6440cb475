"""Kafka, as far as the pipeline needs it: clients, where topics end, and what a topic does to timestamps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package names no exports
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from infra.errors import Conflict, Gone, NotFound, Unavailable
from infra.settings import Settings

TIMEOUT: Final = 20.0  # seconds that the broker has to answer
_LIST: Final = 500  # messages at a time: of more, most have left the processor's cache before they are looked at
_LOOK_EVERY: Final = 0.02  # seconds: so long the last list of a topic is waited for
_QUIET: Final = {"log_level": 2}  # connection troubles come to us as errors; librdkafka needn't write on stderr
_FETCH: Final = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,
}


class KafkaNotConfigured(Conflict):
    code, title = "kafka-not-configured", "No Kafka is configured"


class KafkaUnavailable(Unavailable):
    code, title = "kafka-unavailable", "Kafka does not answer"


class TopicNotFound(NotFound):
    code, title = "topic-not-found", "The topic is not there"


class MessagesLost(Gone):
    code, title = "messages-lost", "Messages are no longer in the topic"


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What a topic does to messages, as its broker tells it.

    Args:
        log_append_time: whether the broker puts its own time in place of the message's.
        before_max_ms, after_max_ms: how far a message's time may lie in the past, or ahead; None for any distance.
        retention_ms: how old a message's time may be before it is deleted; None for any age.
        compacted: whether only the newest message of a key is kept.
    """

    log_append_time: bool
    before_max_ms: int | None
    after_max_ms: int | None
    retention_ms: int | None
    compacted: bool


class Broker:
    """A Kafka cluster.

    Args:
        bootstrap: addresses to begin with, `host:port,host:port`.
        options: further properties of librdkafka, for example for TLS and SASL.
    """

    def __init__(self, bootstrap: str, options: Mapping[str, str] | None = None) -> None:
        self._config: dict[str, Any] = {**(options or {}), **_QUIET, "bootstrap.servers": bootstrap}

    @classmethod
    def of(cls, settings: Settings) -> Broker:
        """Raises KafkaNotConfigured where the settings name no cluster."""
        if settings.kafka is None:
            raise KafkaNotConfigured(
                "There is no Kafka to send to or read from.", hint="Set SLUICE_KAFKA to its address, host:port."
            )
        return cls(settings.kafka, settings.kafka_options)

    def producer(self, **config: Any) -> Producer:
        """An idempotent producer; each message waits for all replicas."""
        return Producer({**self._config, "enable.idempotence": True, "acks": "all", **config})

    def consumer(self, **config: Any) -> Consumer:
        """A consumer that sees only what was committed, keeps no offsets in Kafka, and never skips by itself."""
        defaults = {"group.id": "sluice", "auto.offset.reset": "error"}
        return Consumer({**self._config, **_FETCH, **defaults, **config})

    def partitions(self, topic: str) -> list[int]:
        """Raises TopicNotFound, KafkaUnavailable."""
        client = AdminClient({**self._config, "allow.auto.create.topics": False})
        with _reachable():
            found = client.list_topics(topic, timeout=TIMEOUT).topics[topic]
        if found.error is not None or not found.partitions:
            raise TopicNotFound(
                f"Kafka has no topic {topic}.",
                hint="Create it, or set SLUICE_KAFKA_TOPIC to the one that the pipeline begins with.",
            )
        return sorted(found.partitions)

    def create(self, topic: str, partitions: int) -> None:
        """Makes a topic where there is none. Messages keep their own time, and are kept for good."""
        client = AdminClient(self._config)
        config = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
        wanted = NewTopic(topic, num_partitions=partitions, config=config)
        with _reachable():
            try:
                client.create_topics([wanted], request_timeout=TIMEOUT)[topic].result(TIMEOUT)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """For each partition the first offset that is kept, and the one up to which it can be read.

        Where a transaction is open, of whichever producer, it can't be read past its first message.

        Raises:
            TopicNotFound, KafkaUnavailable: it does not tell.
        """
        return self._watermarks(topic, self.consumer())

    def written(self, topic: str) -> dict[int, int]:
        """For each partition the offset that comes next, past transactions that are open. Raises as `ends` does."""
        every = self._watermarks(topic, self.consumer(**{"isolation.level": "read_uncommitted"}))
        return {partition: end for partition, (_, end) in every.items()}

    def _watermarks(self, topic: str, consumer: Consumer) -> dict[int, tuple[int, int]]:
        with closing(consumer), _reachable():
            return {
                partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT)
                for partition in self.partitions(topic)
            }

    def facts(self, topic: str) -> TopicFacts | None:
        """What the topic does to messages; None where the broker can't tell (librdkafka's mock)."""
        client = AdminClient(self._config)
        resource = ConfigResource(ResourceType.TOPIC, topic)
        with _reachable():
            if str(client.list_topics(topic, timeout=TIMEOUT).cluster_id).startswith("mockCluster"):
                return None
            entries = client.describe_configs([resource], request_timeout=TIMEOUT)[resource].result(TIMEOUT)
        value = {name: entry.value for name, entry in entries.items()}
        return TopicFacts(
            log_append_time=value.get("message.timestamp.type") == "LogAppendTime",
            before_max_ms=_limit(value.get("message.timestamp.before.max.ms")),
            after_max_ms=_limit(value.get("message.timestamp.after.max.ms")),
            retention_ms=_limit(value.get("retention.ms")) if "delete" in value.get("cleanup.policy", "") else None,
            compacted="compact" in value.get("cleanup.policy", ""),
        )

    def read(self, topic: str, ranges: Mapping[int, tuple[int, int]]) -> Iterator[list[Message]]:
        """Committed messages between two offsets of each partition, in lists; in order within a partition.

        Args:
            topic: where.
            ranges: by partition the first offset, and the one after the last.

        Raises:
            MessagesLost: the topic does not go back, or forth, to these offsets.
            KafkaUnavailable: the broker did not answer in time.
        """
        open_ = {partition: last for partition, (first, last) in ranges.items() if first < last}
        if not open_:
            return
        with closing(self.consumer()) as consumer:
            consumer.assign([TopicPartition(topic, partition, ranges[partition][0]) for partition in open_])
            heard = time.monotonic()
            while open_:
                messages = consumer.consume(_LIST, _LOOK_EVERY)
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard > TIMEOUT:
                    raise KafkaUnavailable("Kafka stopped sending messages.", hint="Try again.")
                before = set(open_)
                yield messages if _all_before(open_, messages) else list(_before(open_, messages))
                for partition in before - open_.keys():
                    consumer.incremental_unassign([TopicPartition(topic, partition)])


def _all_before(ends: Mapping[int, int], messages: list[Message]) -> bool:
    """Whether all are messages before the ends of their partitions, none of them the last: so it is with most lists,
    and to look at each message would take as long as to receive it.
    """
    places = zip(map(Message.partition, messages), map(Message.offset, messages), strict=True)
    furthest: dict[Any, Any] = dict(places)
    errors = any(error is not None for error in map(Message.error, messages))
    return not errors and all(offset < ends.get(partition, 0) - 1 for partition, offset in furthest.items())


def _before(open_: dict[int, int], messages: list[Message]) -> Iterator[Message]:
    """Messages before the ends of their partitions; takes away partitions that have come to theirs."""
    for message in messages:
        real = sound(message)
        partition, offset = place_of(message)
        end = open_.get(partition)
        if end is None:
            continue
        if real and offset < end:
            yield message
        if not real or offset >= end - 1:  # an end of file counts: markers of transactions are not sent
            del open_[partition]


def place_of(message: Message) -> tuple[int, int]:
    """Its partition and offset, which a message that was received always has."""
    return message.partition(), message.offset()  # type: ignore[return-value]


def sound(message: Message) -> bool:
    """Whether it is a message, and no end of a partition.

    Raises:
        MessagesLost: the topic no longer has what comes next, or it was made anew.
        KafkaUnavailable: any other error.
    """
    error = message.error()
    if error is None:
        return True
    if error.code() == KafkaError._PARTITION_EOF:
        return False
    if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
        raise MessagesLost(
            f"Partition {message.partition()} of {message.topic()} no longer has the messages that come next.",
            hint="Its retention was too short, or the topic was made anew: then give it a new name.",
        )
    raise KafkaUnavailable("Kafka gave an error while messages were read.", hint="Try again.") from KafkaException(
        error
    )


class MockBroker:
    """librdkafka's broker inside the process: the real protocol, nothing on disk, gone when it is closed.

    Topics come into being when they are first written to. Admin requests and isolation are not served.
    """

    def __init__(self) -> None:
        self._cluster: Any = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", **_QUIET})
        found = self._cluster.list_topics(timeout=TIMEOUT).brokers.values()
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in found)

    def make(self, topic: str) -> None:
        """Makes a topic, of four partitions."""
        self._cluster.list_topics(topic, timeout=TIMEOUT)

    def close(self) -> None:
        self._cluster = None


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise KafkaUnavailable("Kafka does not answer.", hint="Look whether SLUICE_KAFKA is its address.") from error


def _limit(text: str | None) -> int | None:
    """A number of milliseconds; None for -1 and Long.MAX_VALUE, which mean no limit."""
    value = int(text) if text else -1
    return None if value < 0 or value > 10**15 else value
