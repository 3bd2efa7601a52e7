"""A SageMaker simulator: plain Python on a virtual clock, no moto and no boto3 in it.

`Simulator.call` is the direct front door: operation name, parameters and answer are those of
the SageMaker API. The moto plug-in (`local.moto_plugin`) is the other door, for boto3.
"""
