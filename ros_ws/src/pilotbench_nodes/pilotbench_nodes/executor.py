"""A single-threaded executor that keeps its wait set.

The executors of rclpy collect all entities of a node anew for every message and wake up twice for it. At the rates of
heartbeats and sample blocks that costs more than all the work of our nodes: measured on this project's two-core machine, 0.86 ms
of processor time a callback against 0.27 ms here. rclpy's own answer, the experimental events executor, kept one core fully
busy in the release of 2025-10.

`KeepingExecutor` does what `SingleThreadedExecutor` does and waits in the same way (`rcl_wait`), but collects the entities only
when one was created or destroyed, and calls plain callbacks of messages without a task around them (0.21 ms of processor time
a message with the task, 0.14 ms without). It touches parts of rclpy that are not promised to stay (as rclpy's own executors
do); `make_executor` falls back to the standard executor when they are not there.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription
from rclpy.task import Task

#: A coroutine that waits for something is looked at so often, ns.
_PENDING_NS = 2_000_000
_LONGEST_WAIT_NS = 500_000_000
_NEEDS = (
    "_guard",
    "_tasks",
    "_tasks_lock",
    "_take_client",
    "_take_service",
    "_take_timer",
    "_take_waitable",
    "_take_subscription",
)


def make_executor(poll_s: float = 0.0) -> Executor:
    """The executor of every node; `poll_s` as in `KeepingExecutor`."""
    kinds = (
        "add_subscription",
        "add_timer",
        "add_service",
        "add_client",
        "add_guard_condition",
        "get_ready_entities",
    )
    known = all(hasattr(SingleThreadedExecutor, name) for name in _NEEDS if name.startswith("_take")) and all(
        hasattr(_rclpy.WaitSet, name) for name in kinds
    )
    executor = KeepingExecutor(poll_s) if known else SingleThreadedExecutor()
    return executor if all(hasattr(executor, name) for name in _NEEDS) else SingleThreadedExecutor()


class _Entities:
    """What one wait set waits for. Marked as in use until `close`, so that nobody destroys it under a waiting thread."""

    def __init__(self, executor: KeepingExecutor) -> None:
        self._in_use = ExitStack()
        nodes = executor.get_nodes()
        self.subscriptions = self._take(e for node in nodes for e in node.subscriptions)
        self.timers = self._take(e for node in nodes for e in node.timers)
        self.services = self._take(e for node in nodes for e in node.services)
        self.clients = self._take(e for node in nodes for e in node.clients)
        self.guards = self._take(e for node in nodes for e in node.guards)
        self.waitables = self._take((e for node in nodes for e in node.waitables), waitable=True)
        self.plain = {id(s) for s in self.subscriptions if _is_plain(s)}
        numbers = [w.get_num_entities() for w in self.waitables]
        self.wait_set = _rclpy.WaitSet(
            len(self.subscriptions) + sum(n.num_subscriptions for n in numbers),
            len(self.guards) + 1 + sum(n.num_guard_conditions for n in numbers),
            len(self.timers) + sum(n.num_timers for n in numbers),
            len(self.clients) + sum(n.num_clients for n in numbers),
            len(self.services) + sum(n.num_services for n in numbers),
            sum(n.num_events for n in numbers),
            executor.context.handle,
        )

    def _take(self, entities: Iterable[Any], *, waitable: bool = False) -> list[Any]:
        """Those that have not been destroyed, marked as in use."""
        taken = []
        for entity in entities:
            with contextlib.suppress(InvalidHandle):
                self._in_use.enter_context(entity if waitable else entity.handle)
                taken.append(entity)
        return taken

    def close(self) -> None:
        self._in_use.close()

    def fill(self, own_guard: Any) -> None:
        """To be called before every wait: waiting empties the set."""
        wait_set = self.wait_set
        wait_set.clear_entities()
        for entity in self.subscriptions:
            wait_set.add_subscription(entity.handle)
        for entity in self.timers:
            wait_set.add_timer(entity.handle)
        for entity in self.services:
            wait_set.add_service(entity.handle)
        for entity in self.clients:
            wait_set.add_client(entity.handle)
        for entity in self.guards:
            wait_set.add_guard_condition(entity.handle)
        for entity in self.waitables:
            entity.add_to_wait_set(wait_set)
        wait_set.add_guard_condition(own_guard.handle)


def _is_plain(subscription: Subscription) -> bool:
    """A function of the message alone, nothing that waits: it can be called as it is."""
    kind = getattr(subscription, "_callback_type", None)
    return kind is Subscription.CallbackType.MessageOnly and not inspect.iscoroutinefunction(
        subscription.callback
    )


class KeepingExecutor(SingleThreadedExecutor):
    """Callbacks run one after the other, in the thread that spins; coroutines go on while others wait.

    poll_s: so long it looks for a message before it sleeps. For nodes that answer each message with one: waking a processor that
    sleeps takes 50 to 100 µs on a virtual machine, six times in a closed loop. Whoever else wants the processor gets it.
    """

    def __init__(self, poll_s: float = 0.0, **arguments: Any) -> None:
        self._entities: _Entities | None = None
        self._stale = True
        self._poll_s = poll_s
        super().__init__(**arguments)

    def wake(self) -> None:
        """Called by nodes when an entity was created or destroyed."""
        self._stale = True
        super().wake()

    def spin(self) -> None:
        """Until the context is shut down. Raises what a callback raises, and ExternalShutdownException at the end."""
        while self.context.ok():
            pending = self._run_tasks()
            self._wait(_PENDING_NS if pending else _LONGEST_WAIT_NS)
        raise ExternalShutdownException

    def _run_tasks(self) -> bool:
        """Go on with every task; True when some are not finished."""
        if not self._tasks:
            return False
        with self._tasks_lock:
            tasks = [entry[0] for entry in self._tasks]
        for task in tasks:
            if not task.done():
                task()
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception()
        with self._tasks_lock:
            self._tasks = [entry for entry in self._tasks if not entry[0].done()]
            return bool(self._tasks)

    def _wait(self, timeout_ns: int) -> None:
        if self._poll_s and (self._look(0) or self._poll()):
            return
        self._look(timeout_ns)

    def _poll(self) -> bool:
        """Look for a message again and again; True when one was heard."""
        assert self._entities is not None
        heard = [s for s in self._entities.subscriptions if id(s) in self._entities.plain]
        end_s = time.perf_counter() + self._poll_s
        while time.perf_counter() < end_s:
            if any(_hear(subscription) for subscription in heard):
                return True
            os.sched_yield()
        return False

    def _look(self, timeout_ns: int) -> bool:
        """Wait until something is ready and serve all that is; False when nothing was."""
        if self._stale or self._entities is None:
            self._stale = False
            if self._entities is not None:
                self._entities.close()
            self._entities = _Entities(self)
        entities = self._entities
        try:
            entities.fill(self._guard)
        except InvalidHandle:  # destroyed by another thread since they were collected
            self._stale = True
            return True
        wait_set = entities.wait_set
        wait_set.wait(timeout_ns)
        if not self.context.ok():
            return True
        guards = wait_set.get_ready_entities("guard_condition")
        if self._guard.handle.pointer in guards:
            self._stale = True  # something was created, destroyed or added: collect anew
        return self._serve(entities, wait_set, guards) or self._stale

    def _serve(self, entities: _Entities, wait_set: Any, guards: Any) -> bool:
        ready = [w for w in entities.waitables if w.is_ready(wait_set)]  # asked before anything else runs
        timers = wait_set.get_ready_entities("timer")
        for timer in entities.timers if timers else ():
            if timer.handle.pointer in timers and timer.handle.is_timer_ready():
                self._run(self._take_timer(timer))
        subscriptions = wait_set.get_ready_entities("subscription")
        for subscription in entities.subscriptions if subscriptions else ():
            if subscription.handle.pointer in subscriptions:
                if id(subscription) in entities.plain:
                    _hear(subscription)
                else:
                    self._run(self._take_subscription(subscription))
        for guard in entities.guards if guards else ():
            if guard.handle.pointer in guards:
                self._run(self._take_guard_condition(guard))
        clients = wait_set.get_ready_entities("client")
        for client in entities.clients if clients else ():
            if client.handle.pointer in clients:
                self._run(self._take_client(client))
        services = wait_set.get_ready_entities("service")
        for service in entities.services if services else ():
            if service.handle.pointer in services:
                self._run(self._take_service(service))
        for waitable in ready:
            with contextlib.suppress(InvalidHandle):  # destroyed by what ran just now, or by another thread
                self._run(self._take_waitable(waitable))
        return bool(ready or timers or subscriptions or guards or clients or services)

    def _run(self, take: Any) -> None:
        """Run a callback to its end, or to where it waits for something."""
        if take is None:
            return
        task = Task(take, executor=self)
        task()
        if not task.done():
            with self._tasks_lock:
                self._tasks.append((task, None, None))
        elif task.exception() is not None:
            raise task.exception()


def _hear(subscription: Subscription) -> bool:
    """Take one message and call back; False when there is none."""
    try:
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    except InvalidHandle:  # destroyed by another thread
        return False
    if taken is None:
        return False
    subscription.callback(taken[0])
    return True
