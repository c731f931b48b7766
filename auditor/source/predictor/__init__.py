"""What predictions depend on: models, adapters, biases, caches; what they learned from; where they are applied.

Learning is recorded as an event when a gradient step, a direct update or a count makes a predictor depend on
validation tokens. From then on whatever is read from the predictor carries the event. When such a value is applied to
validation tokens that overlap those of the event, a prediction has been made for tokens the predictor had already
seen: a clash. Printed values are collected with the clashes they contain.
"""

from auditor.source.predictor.predictors import Predictors

__all__ = ["Predictors"]
