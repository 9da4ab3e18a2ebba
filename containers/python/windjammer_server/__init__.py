"""A model container in Python: the Open Inference Protocol with the binary tensor extension, for Python 3.9 or newer."""
