from carft.catalog.plugins import method as method
from carft.config.settings import Reading as Reading
from carft.config.settings import Training as Training
from carft.core.metrics import Predictions as Predictions
from carft.core.metrics import score as score
from carft.data.card import Card as Card
from carft.methods.car_ft import context_divergence as context_divergence
from carft.models.clip import Pretrained as Pretrained
from carft.models.clip import load_pretrained as load_pretrained
from carft.models.heads import class_head as class_head
from carft.models.heads import context_head as context_head
from carft.models.heads import context_logits as context_logits
from carft.training.execution import Execution as Execution
from carft.training.train import train as train

__version__: str
NUMERICS: int
SCHEMA_VERSION: int
