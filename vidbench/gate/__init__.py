"""A policy in, a verdict out: may these clips ship?

    policy      what a policy says; policy_file and table read it from TOML, with clear errors
    judge       a run (and a baseline) held against a policy; rows, rules and regression are its parts
    verdict     what came out of it, and its exit code
    draft       a first policy from a good run, with margins from its own noise
    words       the verdict in words that the terminal, JUnit and GitHub share
    junit, github, sarif
                the verdict in other programs' formats

A report shows a run and never judges it; these formats need a verdict, so they live here and not among the reports.
"""
