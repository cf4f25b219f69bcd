"""The scheduler with real threads. Nothing here waits for time to pass, save for deadlines."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.errors import (
    BackendError,
    CancelledError,
    MimoError,
    ModelNotReadyError,
    OutOfMemoryError,
    PreemptedError,
    QueueFullError,
    RequestTimeoutError,
)
from mimo_embodied_ros.engine.job import Job
from mimo_embodied_ros.engine.scheduler import Scheduler
from mimo_embodied_ros.engine.turns import Turns
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator



class KeptJob(Job):
    """A job that runs until it is let go or stopped, and that keeps how it ended."""

    def __init__(self, work: Callable[[Job], Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.work = work or KeptJob.hold
        self.running = threading.Event()
        self.let_go = threading.Event()
        self.over = threading.Event()
        self.ends: list[tuple[Any, MimoError | None]] = []

    def hold(self) -> str:
        self.running.set()
        while not self.let_go.wait(0.001):
            if self.stopped():
                raise BackendError('the engine ended it')
        return 'answer'

    def run(self) -> Any:
        return self.work(self)

    def finish(self, result: Any, error: MimoError | None) -> None:
        self.ends.append((result, error))
        self.over.set()

    @property
    def end(self) -> Any:
        """The result, or the type of the error."""
        assert self.over.wait(WAIT_S)
        (result, error), = self.ends
        return result if error is None else type(error)


class Unheard(KeptJob):
    """A job whose result nobody takes."""

    def finish(self, result: Any, error: MimoError | None) -> None:
        raise KeyError('nobody listens')


@contextmanager
def scheduler(capacity: int = 8, runners: int = 1) -> Iterator[Scheduler]:
    made = Scheduler(capacity, runners)
    made.start()
    before = threading.active_count()
    try:
        yield made
    finally:
        made.stop()
    assert threading.active_count() == before - runners - 1


def running(made: Scheduler, **options: Any) -> KeptJob:
    job = KeptJob(**options)
    made.submit(job)
    assert job.running.wait(WAIT_S)
    return job


def waiting(made: Scheduler, **options: Any) -> KeptJob:
    job = KeptJob(**options)
    made.submit(job)
    return job


def test_jobs_run_at_once_up_to_the_number_of_runners() -> None:
    with scheduler(runners=3) as made:
        jobs = [running(made) for _ in range(3)]
        fourth = waiting(made)
        assert len(made) == 1
        jobs[1].let_go.set()
        assert jobs[1].end == 'answer'
        assert fourth.running.wait(WAIT_S)
        assert len(made) == 0


def test_a_full_queue_refuses_at_once_with_the_remedy() -> None:
    with scheduler(capacity=2) as made:
        running(made)
        waiting(made)
        waiting(made)
        with pytest.raises(QueueFullError, match='max_queue'):
            made.submit(KeptJob())


def test_what_free_runners_are_about_to_take_does_not_fill_the_queue() -> None:
    with scheduler(capacity=1, runners=64) as made:
        for _ in range(65):  # faster than threads wake up
            made.submit(KeptJob())
        with pytest.raises(QueueFullError):
            made.submit(KeptJob())


def order_of(jobs: list[dict[str, Any]], known: str = '') -> list[int]:
    """Let one runner serve jobs that all wait; their numbers in the order in which they ran."""
    order: list[int] = []
    with scheduler(capacity=len(jobs) + 1) as made:
        for caller in known:
            assert waiting(made, caller=caller, work=lambda _: 'once').end == 'once'
        first = running(made, caller='nobody else')
        waiting_jobs = [waiting(made, work=lambda _, n=number: order.append(n), **options)
                 for number, options in enumerate(jobs)]
        first.let_go.set()
        assert all(job.over.wait(WAIT_S) for job in waiting_jobs)
        assert all(len(job.ends) == 1 for job in waiting_jobs)
    return order


@settings(max_examples=60)
@given(st.lists(st.fixed_dictionaries({
    'priority': st.integers(0, 2), 'caller': st.sampled_from('abc'),
    'preemptible': st.booleans()}), max_size=24))
def test_the_order(jobs: list[dict[str, Any]]) -> None:
    order = order_of(jobs, known='abc')
    assert sorted(order) == list(range(len(jobs)))
    levels = [(jobs[n]['preemptible'], -jobs[n]['priority']) for n in order]
    assert levels == sorted(levels)  # standing queries last, then by priority
    for _, level in itertools.groupby(order, lambda n: levels[order.index(n)]):
        left = defaultdict(list)
        served = list(level)
        for number in sorted(served):
            left[jobs[number]['caller']].append(number)
        since = dict.fromkeys(left, 0)  # others served since its last turn
        for number in served:
            caller = jobs[number]['caller']
            assert left[caller].pop(0) == number  # first come, first served
            since = {c: count + 1 for c, count in since.items() if c != caller}
            since[caller] = 0
            # whoever waits is passed by each of the others once at most
            assert all(since[c] < len(since) for c, numbers in left.items() if numbers)


def test_callers_take_turns_however_much_one_asks() -> None:
    order = order_of([{'caller': 'greedy'}] * 4 + [{'caller': 'modest'}] * 2)
    assert order == [0, 4, 1, 5, 2, 3]


def test_new_names_take_one_turn_together() -> None:
    """A new name each time, before and after a known caller's jobs, gets every second turn."""
    new = [{'caller': f'new {n}'} for n in range(6)]
    known = [{'caller': 'a'}] * 3
    assert order_of(new[:3] + known + new[3:], known='a') == [3, 0, 4, 1, 5, 2, 6, 7, 8]
    assert order_of(known + new, known='a') == [0, 3, 1, 4, 2, 5, 6, 7, 8]


@settings(max_examples=100)
@given(st.lists(st.lists(st.sampled_from(['new', 'b', 'c']), max_size=4), min_size=30, max_size=60))
def test_whoever_asks_steadily_is_passed_once_by_each_other(arrivals: list[list[str]]) -> None:
    """Whatever others ask, between two turns of a caller each known one and all new ones have one.

    It is a queue of 8 jobs, of which one is always the steady caller's.
    """
    turns, numbers = Turns(), itertools.count()
    for caller in ('steady', 'b', 'c'):
        turns.serve(caller)
    known, passed, served = {'steady', 'b', 'c'}, [], 0
    queue: list[str] = []
    turns.begin('steady', set())
    queue.append('steady')
    for asked in arrivals:
        for name in asked[:8 - len(queue)]:
            caller = f'new {next(numbers)}' if name == 'new' else name
            turns.begin(caller, set(queue))
            queue.append(caller)
        caller = min(queue, key=turns.place)
        queue.remove(caller)
        share = caller if caller in known else 'new'
        turns.serve(caller)
        if caller == 'steady':
            passed, served = [], served + 1
            turns.begin('steady', set(queue))
            queue.append('steady')
        else:
            assert share not in passed
            passed.append(share)
    assert served >= len(arrivals) // 4


def test_only_the_latest_callers_are_remembered() -> None:
    turns = Turns()
    for number in range(5000):
        turns.serve(f'caller {number}')
    assert len(turns._places) == 1000
    assert turns.place('caller 4999') != turns.place('never heard of')
    assert turns.place('caller 3999') == turns.place('never heard of')


# -- jobs that wait for the answer of another one


def joining(made: Scheduler, other: KeptJob, **options: Any) -> KeptJob:
    """Submit a job that waits for the end of another one, and then for a runner."""
    def join(job: KeptJob) -> str:
        with made.joined(job, other):
            job.running.set()
            while not other.over.wait(0.001):
                job.check()
        if job.let_go.is_set():
            return 'shared'
        made.resume(job)
        return job.hold()

    return running(made, work=join, **options)


def test_jobs_that_wait_for_another_take_no_runner() -> None:
    with scheduler(runners=2) as made:
        first = running(made)
        joined = [joining(made, first) for _ in range(5)]
        assert made.running == 1
        assert len(made) == 5
        urgent = running(made, priority=9)  # runs at once
        assert made.running == 2
        for job in (*joined, first, urgent):
            job.let_go.set()
        assert [job.end for job in (*joined, first, urgent)] == ['shared'] * 5 + ['answer'] * 2
        wait_for(lambda: len(made._threads) == 2)


def test_jobs_that_wait_for_another_fill_the_queue() -> None:
    with scheduler(capacity=2, runners=2) as made:
        first = running(made)
        for _ in range(2):
            joining(made, first)
        running(made)  # by the free runner
        with pytest.raises(QueueFullError):
            made.submit(KeptJob())


@pytest.mark.parametrize(('priority', 'expected'), [(0, 'other'), (9, 'joined')])
def test_what_an_urgent_job_waits_for_is_as_urgent(priority: int, expected: str) -> None:
    """Over two jobs, when the first one has to wait for a runner again."""
    with scheduler(runners=2) as made:
        first = running(made)
        joined = joining(made, first)
        second = joining(made, joined)
        joining(made, second, priority=priority)
        running(made)
        urgent = waiting(made, priority=10)
        other = waiting(made, priority=5)
        joined.running.clear()
        first.let_go.set()
        assert urgent.running.wait(WAIT_S)
        wait_for(lambda: len(made._waiting) == 2)
        urgent.let_go.set()
        assert {'joined': joined, 'other': other}[expected].running.wait(WAIT_S)
        assert len(made._waiting) == 1


def test_a_deadline_ends_a_job_whose_work_goes_on_for_another() -> None:
    def work(job: KeptJob) -> str:
        job.running.set()
        assert job.let_go.wait(WAIT_S)
        return 'for the other'

    with scheduler(runners=2) as made:
        first = running(made, work=work)
        waits = joining(made, first)
        first.deadline = time.monotonic()
        made.cancel(waiting(made))  # so that the scheduler looks at deadlines
        ended, busy = first.over.wait(WAIT_S), first in made._running
        first.let_go.set()
        assert ended
        assert busy  # the model is
        assert first.end is RequestTimeoutError
        assert 'no answer within' in str(first.ends[0][1])
        assert not waits.over.is_set()


@pytest.mark.parametrize('stops', ['cancel', 'deadline', 'stop'])
def test_a_job_that_waits_for_a_runner_again_can_be_ended(stops: str) -> None:
    with scheduler(runners=2) as made:
        first = running(made)
        joined = joining(made, first)
        for _ in range(2):
            waiting(made, priority=10)
        first.let_go.set()
        wait_for(lambda: joined in made._waiting)
        if stops == 'cancel':
            made.cancel(joined)
        elif stops == 'stop':
            made.stop()
        else:
            joined.deadline = time.monotonic()
            waiting(made)  # so that the scheduler looks at deadlines
        assert joined.end is {'cancel': CancelledError, 'deadline': RequestTimeoutError,
                              'stop': PreemptedError}[stops]
        assert len(joined.ends) == 1


def test_a_standing_query_is_stopped_with_those_that_joined_it_but_not_if_a_goal_did() -> None:
    with scheduler(runners=2) as made:
        wanted = running(made, preemptible=True)
        goal = joining(made, wanted)
        running(made)
        waits = waiting(made)
        assert not wanted.stopped()
        made.cancel(goal)
        made.cancel(waits)
    with scheduler(runners=2) as made:
        leader = running(made, preemptible=True)
        follower = joining(made, leader, preemptible=True)
        running(made)
        waiting(made)
        assert leader.end is follower.end is PreemptedError


def test_a_deadline_ends_what_waits_at_once() -> None:
    with scheduler() as made:
        running(made)
        late, later, patient = (waiting(made, deadline=time.monotonic() + s)
                                for s in (0.05, 0.15, 10 * WAIT_S))
        for job in (late, later):
            assert job.end is RequestTimeoutError
            assert time.monotonic() >= job.deadline
            assert 'raise timeout' in str(job.ends[0][1])
        assert not patient.over.is_set()
        assert len(made) == 1


def test_a_job_without_enough_time_is_refused_before_it_costs_any() -> None:
    with scheduler() as made:
        ran: list[Job] = []

        def ask(kind: str, seconds: float) -> KeptJob:
            return waiting(made, workload=kind, work=ran.append,
                           deadline=time.monotonic() + seconds)

        made._durations['plan'].extend([60.0] * 7)
        assert ask('plan', 30).end is None  # too few are known
        assert len(made._durations['plan']) == 8  # now, and this one was quick
        assert ask('plan', 30).end is None
        made._durations['point'].extend([60.0] * 8)
        job = ask('point', 30)
        assert job.end is RequestTimeoutError
        assert len(ran) == 2
        assert 's were left' in str(job.ends[0][1])
        assert 'took 60.00 s' in str(job.ends[0][1])
        assert ask('another', 30).end is None


def test_refusals_end_when_jobs_may_have_become_quicker() -> None:
    with scheduler() as made:
        made._durations['ask'].extend([60.0] * 10)
        ends = [waiting(made, workload='ask', work=lambda _: 'quick',
                        deadline=time.monotonic() + 30).end for _ in range(5)]
        assert ends == [RequestTimeoutError] * 3 + ['quick'] * 2


def test_failures_say_nothing_about_how_long_jobs_take() -> None:
    def fail(_: Job) -> None:
        raise OutOfMemoryError('too large')

    with scheduler() as made:
        for _ in range(20):
            assert waiting(made, workload='ask', work=fail).end is OutOfMemoryError
        assert not made._durations['ask']
        assert waiting(made, workload='ask', work=lambda _: time.sleep(0.01)).end is None
        assert 0.01 <= made._durations['ask'][0] < WAIT_S


def test_a_failure_ends_its_own_job_alone(caplog: pytest.LogCaptureFixture) -> None:
    with scheduler(runners=2) as made:
        other = running(made)
        failed = waiting(made, work=lambda _: {}['nothing'])
        assert failed.end is BackendError
        assert 'KeyError' in str(failed.ends[0][1])
        other.let_go.set()
        assert other.end == 'answer'
        made.submit(Unheard(lambda _: None))
        assert waiting(made, work=lambda _: 'still here').end == 'still here'
    assert 'could not be handed over' in caplog.text


def test_cancel_while_waiting() -> None:
    with scheduler() as made:
        running(made)
        job = waiting(made)
        assert made.cancel(job)
        assert job.over.is_set()  # at once, in this thread
        assert job.end is CancelledError
        assert not made.cancel(job)
        assert len(made) == 0


def test_cancel_while_running() -> None:
    with scheduler() as made:
        noticed = threading.Event()

        def work(job: KeptJob) -> str:
            job.running.set()
            assert noticed.wait(WAIT_S)  # the model is busy
            assert job.stopped()
            return 'in vain'

        job = running(made, work=work)
        assert made.cancel(job)
        assert job.over.is_set()  # without waiting for the model
        assert job.end is CancelledError
        assert not made.cancel(job)  # a second time is harmless
        following = waiting(made)
        assert not following.running.is_set()
        noticed.set()
        assert following.running.wait(WAIT_S)
        assert len(job.ends) == 1


def test_cancel_before_the_work_is_complete_and_after() -> None:
    def complete(job: Job) -> str:
        assert made.cancel(job)  # as in its last moment
        return 'too late'

    with scheduler() as made:
        assert waiting(made, work=complete).end is CancelledError
        job = waiting(made, work=lambda _: 'answer')
        assert job.end == 'answer'
        assert not made.cancel(job)
        assert job.ends == [('answer', None)]


def test_check_ends_work_with_the_reason() -> None:
    with scheduler() as made:
        job = running(made)
        job.check()
        made.cancel(job)
        with pytest.raises(CancelledError):
            job.check()
        with pytest.raises(RequestTimeoutError, match='raise timeout'):
            KeptJob(deadline=time.monotonic()).check()


def test_a_goal_stops_one_standing_query_if_no_runner_is_free() -> None:
    with scheduler(runners=3) as made:
        standing = [running(made, preemptible=True) for _ in range(2)]
        goals = [running(made)]
        assert not any(job.stopped() for job in standing)  # there was a free one
        goals.append(running(made))
        assert standing[1].end is PreemptedError
        assert not standing[0].stopped()
        goals.append(running(made))
        assert standing[0].end is PreemptedError
        waits = waiting(made)
        assert not any(job.stopped() for job in goals)
        assert len(made) == 1
        made.cancel(waits)


def test_a_standing_query_stops_nothing_and_a_goal_takes_its_place_in_the_queue() -> None:
    with scheduler(capacity=2) as made:
        first = running(made, preemptible=True)
        standing = [waiting(made, preemptible=True) for _ in range(2)]
        assert not first.stopped()
        with pytest.raises(QueueFullError):
            made.submit(KeptJob(preemptible=True))
        goal = waiting(made)
        assert standing[1].end is PreemptedError
        assert first.end is PreemptedError
        assert goal.running.wait(WAIT_S)  # before the standing query that came earlier
        assert not standing[0].over.is_set()


def test_stop_ends_everything_once_and_leaves_no_thread() -> None:
    made = Scheduler(8, 2)
    made.start()
    jobs = [running(made), running(made), waiting(made), waiting(made)]
    made.cancel(jobs[1])
    made.stop()
    ends = [job.end for job in jobs]
    assert ends == [PreemptedError, CancelledError, PreemptedError, PreemptedError]
    with pytest.raises(ModelNotReadyError, match='activate'):
        made.submit(KeptJob())
    assert not made.cancel(jobs[0])


def test_every_job_ends_once_whatever_happens_at_the_same_time() -> None:
    made = Scheduler(16, 4)
    made.start()
    jobs: list[KeptJob] = []
    refused: list[KeptJob] = []

    def ask(caller: str, number: int) -> None:
        for turn in range(number):
            job = KeptJob(caller=caller, priority=turn % 3, preemptible=turn % 5 == 0,
                        deadline=time.monotonic() + (turn % 7) / 1000 + 0.0005)
            job.let_go.set()
            try:
                made.submit(job)
            except QueueFullError:
                refused.append(job)
                continue
            jobs.append(job)
            if turn % 2:
                made.cancel(job)
            if turn % 4 == 3:
                made.cancel(jobs[turn // 2 % len(jobs)])

    threads = [threading.Thread(target=ask, args=(name, 300)) for name in 'abcd']
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.stop()
    assert len(jobs) + len(refused) == 1200
    assert all(len(job.ends) == 1 for job in jobs)
    assert not any(job.ends for job in refused)
    assert len(made) == 0
    assert not made._running
