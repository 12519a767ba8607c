"""Pieces computed by several processes, and what is said before a run."""

import multiprocessing
import threading
import time

import pytest
import worker_tasks

from genoconv.errors import ModelError, UsageError
from genoconv.pipelines import workers
from genoconv.pipelines.forecast import forecast
from genoconv.pipelines.workers import chosen_devices, computed, sharing, working
from support import HANG

DEVICES = ["cuda:0", "cuda:1"]  # names alone: these workers import no torch


def run(make, pieces, devices=DEVICES):
    done = []
    here = make("here")
    with computed(here, make, devices, pieces, advance=done.append) as results:
        return list(results), done


def test_results_come_in_the_order_of_the_pieces_from_all_processes():
    drawn = []

    def pieces():
        for number in range(60):
            drawn.append(number)
            yield number

    with working(worker_tasks.doubling, DEVICES) as some:
        done = []
        results = some.ordered(pieces(), advance=done.append)
        first = next(results)
        assert first[0] == 0
        assert len(drawn) <= 2 * 8 + 1  # no further ahead than results may wait
        every = [first, *results]
    assert [piece for piece, _ in every] == list(range(60))
    assert [result for _, (result, _) in every] == [2 * number for number in range(60)]
    assert len({process for _, (_, process) in every}) == 2
    assert sum(done) == 60
    assert not multiprocessing.active_children()


def test_a_slow_piece_does_not_hold_back_those_that_others_can_compute(tmp_path):
    found, _ = run(worker_tasks.waiting, [(number, tmp_path) for number in range(14)])
    assert [result for _, result in found] == list(range(14))


def test_one_device_needs_no_process():
    found, done = run(worker_tasks.doubling, [1, 2, 3], devices=["cpu"])
    assert [result for _, (result, _) in found] == [2, 4, 6]
    assert sum(done) == 3


@pytest.fixture
def ahead(monkeypatch):
    """``run`` of work in threads ahead of what is taken, as with one GPU."""
    monkeypatch.setattr(workers, "_is_gpu", lambda device: True)

    def run(here, pieces, take=list):
        done = []
        with computed(here, None, ["cuda:0"], pieces, advance=done.append) as results:
            return take(results), done

    return run


def threads_of_a_gpu():
    return [thread for thread in threading.enumerate() if thread.name.startswith("genoconv")]


def test_a_gpu_has_pieces_prepared_ahead_and_results_in_order(ahead):
    begun = [threading.Event() for _ in range(40)]

    def work(piece, advance):
        begun[piece].set()
        if piece % 2 == 0:
            assert begun[piece + 1].wait(HANG)  # ends only if two pieces are worked on at a time
        advance(piece)
        return 2 * piece

    found, done = ahead(work, range(40))
    assert found == [(piece, 2 * piece) for piece in range(40)]
    assert sum(done) == sum(range(40))
    assert not threads_of_a_gpu()


def test_a_slow_piece_of_a_gpu_is_waited_for(ahead):
    later = threading.Event()

    def work(piece, advance):
        if piece == 0:
            assert later.wait(HANG)  # the piece behind it is done first
        else:
            later.set()
        return piece

    assert [piece for piece, _ in ahead(work, range(6))[0]] == list(range(6))


def test_an_error_in_a_thread_of_a_gpu_is_raised_after_the_results_before_it(ahead):
    taken = []

    def work(piece, advance):
        if piece == 3:
            raise ModelError("piece 3 is beyond the GPU")
        return piece

    with pytest.raises(ModelError, match="piece 3 is beyond the GPU"):
        ahead(work, range(1000), take=lambda results: taken.extend(results))
    assert [piece for piece, _ in taken] == [0, 1, 2]
    assert not threads_of_a_gpu()


def test_a_run_that_ends_early_reads_no_further_pieces_of_a_gpu(ahead):
    drawn, worked = [], []

    def pieces():
        for number in range(1000):
            drawn.append(number)
            yield number

    def work(piece, advance):
        worked.append(piece)
        return piece

    assert ahead(work, pieces(), take=next)[0] == (0, 0)
    assert len(drawn) <= 4
    assert set(worked) <= set(drawn)
    assert not threads_of_a_gpu()


@pytest.mark.parametrize(
    ("devices", "asked", "long", "cores", "found"),
    [
        (["cuda"], None, True, 16, ["cuda"] * 4),
        (["cuda"], None, True, 3, ["cuda"] * 2),
        (["cuda"], None, True, 1, ["cuda"]),
        (["cuda"], None, False, 16, ["cuda"]),
        (["cuda"], "1", True, 16, ["cuda"]),
        (["cuda:0", "cuda:1"], "all", True, 16, ["cuda:0", "cuda:1"]),
        (["cpu"], None, True, 16, ["cpu"]),
    ],
)
def test_a_long_run_has_several_processes_on_its_only_gpu(monkeypatch, devices, asked, long, cores, found):
    monkeypatch.setattr(workers, "_is_gpu", lambda device: device.startswith("cuda"))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert sharing(devices, asked=asked, long=long) == found


def test_processes_on_gpus_have_one_thread_each_and_those_on_a_cpu_share_its_cores(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    for device, number in (("cuda:0", 1), ("cpu", 3)):
        found, _ = run(worker_tasks.threads, range(2), devices=[device] * 2)
        assert [result for _, result in found] == [number] * 2


def test_processes_on_one_gpu_leave_each_other_memory():
    found, _ = run(worker_tasks.memory_share, range(8), devices=["cuda"] * 3)
    assert {result for _, result in found} == {3}
    found, _ = run(worker_tasks.memory_share, range(4))
    assert {result for _, result in found} == {1}


def test_pieces_and_results_larger_than_what_a_pipe_holds_do_not_block_each_other():
    def both():
        pieces = [bytes([number]) * 4_000_000 for number in range(6)]
        found, _ = run(worker_tasks.echoing, pieces)
        assert [result for _, result in found] == pieces

    ended = threading.Thread(target=both, daemon=True)
    ended.start()
    ended.join(HANG)
    stuck = ended.is_alive()
    for process in multiprocessing.active_children():
        process.kill()
    assert not stuck


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (worker_tasks.refusing, ModelError, "piece 3 is beyond cuda:"),
        (worker_tasks.failing, RuntimeError, "on cuda:.: ZeroDivisionError"),
        (worker_tasks.dying, ModelError, r"the process on cuda:. ended early \(signal 9\)"),
    ],
)
def test_a_worker_that_fails_ends_the_run_with_its_message(make, kind, message):
    with pytest.raises(kind, match=message):
        run(make, range(9))
    assert not multiprocessing.active_children()


def test_a_worker_that_ends_before_it_takes_its_pieces_is_no_traceback():
    full = bytes(212_000)  # fills what holds them on the way: the second waits, and its sender meets another error
    with pytest.raises(ModelError, match=r"ended early \(exit code 3\)"):
        run(worker_tasks.Unready(), [full] * 9)
    assert not multiprocessing.active_children()


def test_workers_leave_ctrl_c_to_the_first_process():
    found, _ = run(worker_tasks.interrupted, range(5))
    assert [result for _, result in found] == list(range(5))


def test_workers_leave_ctrl_c_to_the_first_process_while_they_load():
    found, _ = run(worker_tasks.Loading(), range(5))
    assert [result for _, result in found] == list(range(5))


def interrupted_run():
    compute = computed(worker_tasks.doubling("here"), worker_tasks.doubling, DEVICES, range(9), advance=lambda n: None)
    with compute as results:
        next(results)
        assert len(multiprocessing.active_children()) == 2
        raise KeyboardInterrupt


def test_processes_end_with_the_block():
    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert not multiprocessing.active_children()


def test_which_devices_are_meant(monkeypatch):
    assert chosen_devices(None, device="cpu") == ["cpu"]
    assert chosen_devices("3", device="cpu") == ["cpu"] * 3
    assert chosen_devices("all", device="cpu") == ["cpu"]
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_devices("all", device="auto") == ["cuda:0", "cuda:1"]
    assert chosen_devices("1", device="cuda:1") == ["cuda:1"]
    assert chosen_devices(None, device="auto") == ["cuda:0"]  # forecasts name what is used
    with pytest.raises(UsageError, match="--devices 3: torch sees 2"):
        chosen_devices("3", device="cuda")
    with pytest.raises(UsageError, match="--devices 2 with --device cuda:1"):
        chosen_devices("2", device="cuda:1")


def test_a_forecast_is_what_was_measured(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    steps = []

    def work(items):
        steps.append(items)
        now[0] += (3.0 if len(steps) == 1 else 0) + items * 0.01  # the first also makes the filters
        return items

    expected = forecast(work, amount=5_012_331, unit="records", available=1024, devices=["cuda:0"])
    assert steps == [1, 1, 4, 16, 64]
    assert str(expected) == "5,012,331 records, about 13 h 55 min on cuda:0"
    assert expected.counts() == {"records": 5_012_331, "estimated_seconds": 50_123.3}
    steps.clear()
    two = forecast(work, amount=1000, unit="bases", available=7, devices=["cpu", "cpu"])
    assert steps == [1, 1, 4, 7]
    assert str(two) == "1,000 bases, about 5 s on 2 devices (cpu, ...)"
    assert str(forecast(work, amount=0, unit="records", available=0, devices=["cpu"])) == "0 records on cpu"
