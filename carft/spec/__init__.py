"""The earlier name of :mod:`carft.config`, whose modules it holds: plug-ins and packages may import it."""

import sys

from carft.config import catalog, cell, plugins, registry, resolve, settings

for _module in (catalog, cell, plugins, registry, resolve, settings):
    sys.modules[_module.__name__.replace(".config", ".spec")] = _module
