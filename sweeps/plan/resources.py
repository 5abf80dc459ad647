"""What a sweep asks of the machines that run it. No Ray."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from carft.core.declaration import Settings
from carft.core.errors import UserError
from carft.training.execution import Execution

#: default of the seconds without a heartbeat after which a cell is ended
HANG_AFTER = 1800.0


@dataclass(frozen=True)
class Resources(Settings):
    """Resources that a sweep requests from the cluster, and the execution of its cells.

    The described fields are options of ``sweep`` and ``plan``.
    """

    gpus: Annotated[
        int, Field(ge=0, description="GPUs for the whole sweep; 0 runs on CPU cores; default: all of this machine.")
    ] = 0
    execution: Execution = field(default_factory=Execution)
    """Execution of each cell."""
    address: Annotated[
        str | None, Field(description="host:port of a running cluster's head, or auto; default: this machine.")
    ] = None
    hang_after: Annotated[
        float, Field(ge=0, description="Seconds without progress after which a cell is ended; 0: never.")
    ] = HANG_AFTER
    patience: Annotated[
        float, Field(ge=0, description="Seconds to wait for a node that can run a cell when none is alive.")
    ] = 60.0
    gpu_model: Annotated[
        str, Field(description="GPU card that a forecast assumes, such as H100; default: what the machines have.")
    ] = ""
    node_gpus: int = 0
    """GPUs of the smallest node of the cluster that has any; 0 where Ray was not asked."""

    def check_numbers(self) -> None:
        """Raise ``UserError`` for impossible numbers."""
        if self.gpus and self.gpus < self.execution.workers:
            raise UserError(
                f"A cell of {self.execution.workers} workers needs as many GPUs; --gpus is {self.gpus}.",
                "Raise --gpus or lower --workers-per-cell.",
            )
        if not self.gpus and (self.execution.cells_per_gpu > 1 or self.gpu_model):
            option = "--gpu-model names a GPU card" if self.gpu_model else "--cells-per-gpu shares GPUs"
            raise UserError(f"{option}, but --gpus asks for none.", "Give --gpus N as well.")
        if self.execution.cells_per_gpu > 1 and self.execution.workers > 1:
            raise UserError(
                f"A cell of {self.execution.workers} workers needs a whole GPU for each of them.",
                "Leave --cells-per-gpu or --workers-per-cell out.",
            )
