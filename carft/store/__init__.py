"""The files of a results folder: records, predictions, studies, failures, sweep states, archives and object stores.

Every JSON file has one pydantic model here, and readers get the model. The modules import :mod:`carft.core`,
:mod:`carft.config` and :mod:`carft.data`, and neither torch nor Ray; every other package may import them.
"""
