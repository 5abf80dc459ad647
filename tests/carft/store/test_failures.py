"""What kind of failure an exception is, also inside of what Ray wraps around it; attempts; what is run again."""

from __future__ import annotations

import errno
import pickle

import pytest
import torch
from ray.exceptions import ActorDiedError, NodeDiedError, WorkerCrashedError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from safetensors import SafetensorError

from carft.config.selection import min_finished_trials
from carft.core.errors import DeviceFailed, Diverged, UnreadableImage, UserError
from carft.core.files import write_json
from carft.store.failure_kinds import KINDS, PASSING, cause_for_people, gpu_in, kind_of, reason_of
from carft.store.failures import (
    failures,
    read_failure,
    settled_failures,
    tail,
    write_failure,
)
from carft.store.records import Store
from tests.support.helpers import LR, made_up_predictions, made_up_record, quick_cell

CELL = quick_cell("ft", lr=LR)
CASES = [
    (Diverged("the loss became nan"), "diverged"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
    (MemoryError(), "out of memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
    (RuntimeError("CUDA error: out of memory"), "out of memory"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), "out of memory"),
    (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), "device"),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "device"),
    (RuntimeError("CUDA error: unspecified launch failure"), "device"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device"),
    (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp, unhandled cuda error"), "device"),
    (RuntimeError("No CUDA GPUs are available"), "device"),
    (DeviceFailed("a small product is wrong", "GPU-1"), "device"),
    (RuntimeError("CUDA error: device-side assert triggered"), "error"),
    (RuntimeError("CUDA error: no kernel image is available for execution on the device"), "error"),
    (UnreadableImage("The image 'a.jpg' cannot be read."), "unreadable image"),
    (UserError("There is no GPU on this machine."), "refused"),
    (OSError(errno.ENOSPC, "No space left on device"), "storage"),
    (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), "storage"),
    (WorkerCrashedError(), "lost"),
    (ActorDiedError(), "lost"),
    (NodeDiedError("a node died"), "lost"),
    (ValueError("nobody expected this"), "error"),
]


@pytest.mark.parametrize(("error", "kind"), CASES, ids=lambda case: type(case).__name__)
def test_a_failure_has_its_kind_alone_and_wrapped(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind and kind in KINDS
    peer = RuntimeError("Connection closed by peer")
    wrapped = WorkerGroupError("two workers failed", {0: UserExceptionWithTraceback(error, "Traceback ..."), 1: peer})
    raised = RuntimeError("the task failed")
    raised.__cause__ = wrapped
    assert kind_of(raised) == kind
    assert reason_of(raised) == reason_of(error)


def test_people_are_told_the_sentence_that_is_wrapped() -> None:
    sentence = UserError("There is no such thing.", "Make one.")
    raised = WorkerGroupError("training failed", {0: RuntimeError("connection reset by peer"), 1: sentence})
    assert cause_for_people(raised) is sentence
    other = RuntimeError("a mistake")
    assert cause_for_people(other) is other


def test_processes_that_lost_touch_with_one_that_is_gone_are_lost_themselves() -> None:
    said = "[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:40361"
    alone = WorkerGroupError("a worker failed", {0: UserExceptionWithTraceback(RuntimeError(said), "Traceback ...")})
    assert kind_of(alone) == "lost"
    assert kind_of(RuntimeError("NCCL error in: x.cpp, remote process exited or there was a network error")) == "lost"
    assert kind_of(WorkerGroupError("both failed", {0: RuntimeError(said), 1: ValueError("why")})) == "error"


def test_the_gpu_of_a_worker_is_found_in_what_the_workers_of_a_cell_raise() -> None:
    failed = DeviceFailed("it is lost", "GPU-7")
    raised = WorkerGroupError("two failed", {0: RuntimeError("Connection closed by peer"), 1: failed})
    assert (kind_of(raised), gpu_in(raised), reason_of(raised)) == ("device", "GPU-7", "GPU-7: it is lost")
    assert gpu_in(pickle.loads(pickle.dumps(failed))) == "GPU-7"
    assert gpu_in(ValueError("why")) == ""


def test_attempts_are_counted_until_the_cell_is_done(store: Store) -> None:
    for attempt in (1, 2):
        assert write_failure(store, CELL, "hang", "nothing moved", job="search").attempt == attempt
    assert write_failure(store, CELL, "error", "another job", job="curve").attempt == 1
    store.write(made_up_record(CELL), [], made_up_predictions())
    assert read_failure(store, CELL.id) is None and failures(store) == []


def test_what_was_lost_is_not_settled(store: Store) -> None:
    cells = {kind: quick_cell("ft", seed=seed, lr=LR) for seed, kind in enumerate(KINDS)}
    for kind, cell in cells.items():
        write_failure(store, cell, kind, "why", job="search")
    assert set(settled_failures(store)) == {f"search-{cell.id}" for kind, cell in cells.items() if kind not in PASSING}


def test_a_failure_record_of_before_is_read_and_not_held_against_the_cell(store: Store) -> None:
    store.failure_path(CELL.id).parent.mkdir(parents=True)
    content = {"cell": CELL.id, "spec": CELL.as_dict(), "reason": "it broke", "details": "Traceback ..."}
    write_json(store.failure_path(CELL.id), content)
    (found,) = failures(store)
    assert (found.reason, found.kind, found.attempt) == ("it broke", "error", 1)
    assert settled_failures(store) == {}


def test_the_end_of_a_log_begins_with_a_line(tmp_path) -> None:
    log = tmp_path / "a.log"
    assert tail(log) == tail(None) == ""
    log.write_text("first line\nsecond line\n")
    assert tail(log) == "first line\nsecond line\n"
    assert tail(log, 15) == "second line\n"


@pytest.mark.parametrize(("trials", "needed"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 4)])
def test_half_of_the_trials_are_min_finished_trials(trials: int, needed: int) -> None:
    assert min_finished_trials(trials) == needed
