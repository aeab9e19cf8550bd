"""A consumer on librdkafka's current version as a user would write it: reads the file that quickstart wrote, joins a
group and prints partition, offset and value until it is told to stop.

    group.py FILE TOPIC GROUP [INSTANCE]
"""

import signal
import sys

from confluent_kafka import Consumer, KafkaError


def settings(path):
    with open(path, encoding="utf-8") as lines:
        pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        return {key.strip(): value.strip() for key, value in pairs}


def main():
    path, topic, group, *instance = sys.argv[1:]
    options = settings(path) | {
        "group.id": group,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
        "auto.commit.interval.ms": 200,
        "auto.offset.reset": "earliest",
    }
    if instance:
        options["group.instance.id"] = instance[0]
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    consumer = Consumer(options)
    consumer.subscribe([topic])
    while not stopped:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                print(message.error(), file=sys.stderr, flush=True)
            continue
        print(message.partition(), message.offset(), message.value().decode(), flush=True)
    consumer.close()


main()
