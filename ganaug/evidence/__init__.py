"""Does it help? The paired comparison, its statistics, what samples are like, and the page that tells it all.

    real + bank -> comparison.compare -> result.Comparison -> a verdict, kept in the bank
        comparing.py: one comparison; protocol.py: which arms (arms.py) are trained in which order, and what is learned
        from which images; trials.py, own_trainer.py: who trains; material.py: on what; parts.py: which images train,
        which are scored; exams/: what is particular to a kind of label, once a task
        cells.py: each training once, here, in processes or on a cluster; budget.py: how many the minutes buy
        statistics.py: how sure a difference is
    samples.measure -> measured.SampleMeasures: fidelity, diversity and copies, each beside its reference
    report.report   -> one HTML page and its JSON (findings.py reads, page.py decides, charts.py and gallery.py draw)

No image that a bank was fitted on is ever scored.
"""
