"""Experiments on a model and a text whose entropy is known; `results` holds their plots and figures."""
