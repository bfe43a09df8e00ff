"""Several processes that train one model together: who they are, how they meet, what each one reads.

Knows torch's process groups and row numbers. It does not know what is trained, nor what started the processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")


class NodesError(RuntimeError):
    """The processes that train together lost one another, or do not see the same. The message says what to look at."""


class Nodes(NamedTuple):
    """Which process this is, of how many that train together, and how they meet.

    `rank` is in [0, size); rank 0 listens at `address`:`port`. `backend` is 'gloo' or, for GPUs, 'nccl'. A process
    that hears nothing from another for `wait_minutes` gives up.
    """

    rank: int = 0
    size: int = 1
    backend: str = "gloo"
    address: str = "127.0.0.1"
    port: int = 0
    wait_minutes: float = 10.0

    @property
    def first(self) -> bool:
        """Say whether this process writes, judges and speaks for all."""
        return self.rank == 0

    @property
    def gpu(self) -> int | None:
        """The number of this process's GPU: each process of a machine takes another one. None where there is none."""
        found = torch.cuda.device_count()
        return self.rank % found if found else None


ALONE = Nodes()
"""One process, which needs no other."""


@contextmanager
def joined(nodes: Nodes) -> Iterator[None]:
    """Meet the other processes, and leave them at the end; alone there is nobody to meet.

    After an error no goodbye is said, since whoever is gone would be waited for: the process had better end.

    Raises:
        NodesError: somebody did not come, or was lost on the way.
    """
    if nodes.size == 1:
        yield
        return
    if nodes.gpu is not None:  # where torch keeps what is sent as an object
        torch.cuda.set_device(nodes.gpu)
    try:
        dist.init_process_group(
            nodes.backend,
            init_method=f"tcp://{nodes.address}:{nodes.port}",
            rank=nodes.rank,
            world_size=nodes.size,
            timeout=timedelta(minutes=nodes.wait_minutes),
        )
        yield
        dist.barrier()
    except RuntimeError as error:
        # gloo's errors have no class of their own
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise NodesError(
            f"rank {nodes.rank} of {nodes.size} processes lost the others (they meet at {nodes.address}:{nodes.port}): "
            f"one ended, or said nothing for {nodes.wait_minutes:g} minutes (trainer.wait_minutes). Its output tells."
        ) from error
    dist.destroy_process_group()


def summed(tensor: Tensor, nodes: Nodes) -> Tensor:
    """Return the sum of a tensor over all processes, which replaces the tensor itself; no gradient passes."""
    if nodes.size > 1:
        dist.all_reduce(tensor)
    return tensor


def to_first(value: T, nodes: Nodes) -> list[T]:
    """Return what each process hands in, by rank, on rank 0, and nothing on the others."""
    if nodes.size == 1:
        return [value]
    everything: list[T | None] | None = [None] * nodes.size if nodes.first else None
    dist.gather_object(value, everything)
    return cast(list[T], everything or [])


def from_first(value: T, nodes: Nodes) -> T:
    """Return what rank 0 hands in, on every process."""
    if nodes.size == 1:
        return value
    spoken: list[Any] = [value]
    dist.broadcast_object_list(spoken)
    return cast(T, spoken[0])


def part_of(rows: NDArray[np.int64], nodes: Nodes) -> NDArray[np.int64]:
    """Return the rows that fall to this process: every `size`-th. Parts are of equal length.

    Where they do not come out even, a part ends with a row n that counts for nothing, written as ~n
    (`rayon.data.batches.Collator` knows it): processes that do not take as many steps would wait for each other.
    """
    part = rows[nodes.rank :: nodes.size]
    lacking = -(-len(rows) // nodes.size) - len(part)
    return np.concatenate([part, ~rows[:1].repeat(lacking)])


def whole_of(parts: list[NDArray[Any]], total: int) -> NDArray[Any]:
    """Return what belongs to `total` rows, in their order, from what belongs to each rank's `part_of` them."""
    together = np.stack(parts, axis=1)
    return together.reshape(-1, *together.shape[2:])[:total]
