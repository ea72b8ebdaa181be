"""Label texts with an exported classifier: onnxruntime, tokenizers and numpy, without torch.

>>> from kdh_runtime import load
>>> classifier = load("student")  # doctest: +SKIP
>>> classifier.predict(["Curcumin induced apoptosis."]).labels  # doctest: +SKIP
[['Resisting cell death']]
"""

from kdh_runtime.classifier import Classifier, Prediction, load
from kdh_runtime.errors import FolderError, TextError

__version__ = "0.2.0"
__all__ = ["Classifier", "FolderError", "Prediction", "TextError", "load"]
