"""Audits of many pull requests: each in a process of its own, bounded in time, tried twice, remembered.

`targets` says what there is to audit, `one_audit` makes one audit, `memory` keeps outcomes, an engine (`processes`, or
`ray_engine` on a cluster) makes several audits at a time, and `sweeping` holds it together, so that nothing is lost
when an audit hangs, a worker dies or the sweep is interrupted. `tables` and `index` write down what was found.
"""
