"""Training, validation and evaluation of one cell: ``loop`` is the training loop, ``run`` leads from cell to record.

``carft.posthoc``, ``sweeps`` and the commands import this subpackage. It imports ``carft.methods`` and the subpackages
below it. It uses ``torch.distributed``, but not Ray.
"""
