"""The broker: Celery's application, its queues, and how tasks are published and counted.

A task is a hint, the database is the truth: a task that is lost is published again by the sweeper, one that
comes twice finds its work claimed or done. So nothing here is retried and nobody waits for a broker.
"""

import ssl
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import structlog
from celery import Celery
from celery.worker import WorkController
from celery.worker import state as celery_state
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from db.journeys import Priority
from node.settings.config import Config

log = structlog.get_logger()

CLASSIFY: Final = "bodytag.classify_series"
DELIVER: Final = "bodytag.deliver_series"

_PATIENCE_S: Final = 5.0
_VISIBLE_S: Final = 600.0
"""Redis hands a task that is not acknowledged to another worker after the longest task and so much more."""

_UNREACHABLE: Final = (OperationalError, OSError)


class Broker:
    """The queues of one installation; safe for any number of threads."""

    def __init__(self, config: Config) -> None:
        scaling = config.scaling
        self._names = scaling.queues
        address = scaling.broker or ""
        self._quorum = address.startswith("amqp")
        self.destinations = [each.name for each in config.destinations]
        self.app = Celery("bodytag", broker=address, set_as_current=False)
        longest_s = max(config.classify.series_timeout_s, scaling.deliver_for_s) + _VISIBLE_S
        self.app.conf.update(
            task_queues=[self._queue(name) for name in (*self.classifying(), *self.delivering())],
            task_create_missing_queues=False,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            task_ignore_result=True,
            worker_prefetch_multiplier=1,
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
            worker_enable_remote_control=False,
            worker_cancel_long_running_tasks_on_connection_loss=False,
            broker_connection_timeout=_PATIENCE_S,
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
            broker_heartbeat=10,
            broker_transport_options=self._options(longest_s),
            broker_use_ssl=_tls(address, scaling.ca),
        )

    def classifying(self) -> list[str]:
        """Name the queues of series that wait for a worker, the most urgent first."""
        return [self.queue_of(each) for each in Priority]

    def delivering(self) -> list[str]:
        """Name the queues of the destinations."""
        return [self.queue_to(each) for each in self.destinations]

    def queue_of(self, priority: Priority) -> str:
        """Name the queue of series so urgent."""
        return f"{self._names}.classify.{priority.name.lower()}"

    def queue_to(self, destination: str) -> str:
        """Name the queue of a destination."""
        return f"{self._names}.deliver.{destination}"

    def classify(self, series: Iterable[tuple[int, Priority]]) -> None:
        """Publish that series are to be classified."""
        self._publish(CLASSIFY, [(self.queue_of(priority), [series_id]) for series_id, priority in series])

    def deliver(self, destinations: Iterable[str]) -> None:
        """Publish that there is something to deliver to these destinations."""
        known = [each for each in destinations if each in self.destinations]
        self._publish(DELIVER, [(self.queue_to(each), [each]) for each in known])

    def depths(self, names: Sequence[str]) -> dict[str, int]:
        """Count the tasks that wait in these queues; raises OSError where the broker does not answer."""
        try:
            with self.app.connection_for_write(connect_timeout=_PATIENCE_S) as connection:
                connection.ensure_connection(max_retries=1, timeout=_PATIENCE_S)
                with connection.channel() as channel:
                    return {name: self._queue(name)(channel).queue_declare().message_count for name in names}
        except _UNREACHABLE as error:
            raise OSError(f"the broker does not answer: {type(error).__name__}") from error

    def _publish(self, task: str, messages: Sequence[tuple[str, list[Any]]]) -> None:
        """Publish, or say that it could not be done: then the sweeper does it."""
        try:
            for queue, arguments in messages:
                self.app.send_task(
                    task, arguments, queue=queue, retry=False, ignore_result=True, confirm_timeout=_PATIENCE_S
                )
        except _UNREACHABLE as error:
            log.warning("the broker takes no task; the sweeper tries again", reason=type(error).__name__)

    def _queue(self, name: str) -> Queue:
        arguments = {"x-queue-type": "quorum"} if self._quorum else None
        exchange = Exchange(self._names, type="direct")
        return Queue(name, exchange, routing_key=name, durable=True, queue_arguments=arguments)

    def _options(self, longest_s: float) -> dict[str, Any]:
        if self._quorum:
            return {"confirm_publish": True}
        return {
            "visibility_timeout": longest_s,
            "socket_timeout": 2 * _PATIENCE_S,
            "socket_connect_timeout": _PATIENCE_S,
            "socket_keepalive": True,
        }


class Consumer:
    """Runs tasks of some queues in threads, until it is stopped; one in a process."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        queues: Sequence[str],
        threads: int,
        task: str,
        run: Callable[..., None],
    ) -> None:
        broker.app.task(name=task)(run)
        self._worker = WorkController(
            app=broker.app,
            hostname=name,
            queues=list(queues),
            pool_cls="threads",
            concurrency=threads,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )

    def run(self) -> None:
        """Take tasks until `stop`; what is under way then ends first."""
        celery_state.should_stop = None
        # What it announces for its next version when a connection is lost is told here already.
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="celery")
        self._worker.start()

    def stop(self) -> None:
        """Have `run` return soon; from any thread."""
        celery_state.should_stop = 0


def _tls(address: str, ca: object) -> dict[str, Any] | bool:
    """Return how the broker's certificate is checked, in the words of the transport."""
    if address.startswith("amqps://"):
        return {"cert_reqs": ssl.CERT_REQUIRED, **({"ca_certs": str(ca)} if ca else {})}
    if address.startswith("rediss://"):
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED, **({"ssl_ca_certs": str(ca)} if ca else {})}
    return False
