"""The model-building side: what a training pipeline is made of.

`data.py`, `train.py` and `evaluate.py` are programs that run in SageMaker's scikit-learn
containers, each by itself; `inference.py` travels inside the model. `definition.py` and
`register.py` make the pipeline.
"""
