"""Training, validation and evaluation of one cell: ``loop`` is the training loop, ``run`` leads from cell to record.

``carft.posthoc``, ``sweeps`` and the commands import this room. It imports ``carft.methods`` and the rooms below it. It
knows ``torch.distributed``, but not Ray.
"""
