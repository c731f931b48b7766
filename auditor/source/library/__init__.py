"""Models of the language's built-ins and of the libraries that training scripts use.

Each model says what a call's result is made of and which storage it changes. A call without a model returns a value
made of all its arguments, applies predictors among them to tokens among them, and runs functions handed to it.

`calls` finds the model of a function by its dotted name, `methods` that of a method; the models themselves stand in
the other modules, by subject, each with the names that it models in its table `CALLS`.
"""
