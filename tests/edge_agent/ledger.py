"""A collector at a real broker, as an agent meets it: it checks chains, keeps them in memory, and gives receipts."""

from protocols import chain
from protocols.messages import COLLECTOR_STATUS, Batch, CollectorStatus, Receipt, decode, encode, topic
from tests.brokers import Mosquitto, Peer

AGENT = "agent-a"  # one of the users of tests.brokers
BATCH, RECEIPT, STATUS, HEALTH = (topic(AGENT, kind) for kind in ("batch", "receipt", "status", "health"))


class Ledger(Peer):
    """A collector that keeps one epoch's chain in memory and answers every batch with what it really holds."""

    def __init__(self, broker: Mosquitto, answering: bool = True):
        super().__init__(broker, "collector")
        self.batches: list[Batch] = []
        self.epoch, self.upto, self.head = "", 0, ""
        self.answering = answering

    def __enter__(self) -> "Ledger":
        super().__enter__()
        self.subscribe(BATCH)
        return self

    def _on_message(self, client, userdata, message) -> None:
        super()._on_message(client, userdata, message)
        if message.topic != BATCH:
            return
        batch = decode(message.payload, Batch)
        self.batches.append(batch)
        if not self.answering:
            return
        if self.epoch not in ("", batch.epoch):
            self.upto, self.head = 0, ""
        self.epoch = batch.epoch
        heads = chain.heads(bytes.fromhex(batch.prev), [bytes(body) for body in batch.records])
        if batch.first == self.upto + 1 and heads[-1].hex() == batch.head and self.head in ("", batch.prev):
            self.upto, self.head = self.upto + len(batch.records), batch.head
        self.receipt(Receipt(batch.epoch, self.upto, self.head or batch.prev))

    def receipt(self, receipt: Receipt) -> None:
        self.send(RECEIPT, encode(receipt))

    def says_it_is(self, online: bool) -> None:
        self.publish(COLLECTOR_STATUS, encode(CollectorStatus(online)), retain=True)
