"""A search: Optuna proposes points, the runner trains them side by side, scores go back as soon as a point has ended.

Flow: Hydra's sweeper → **search** → runner → score_tables. `space` reads overrides, `goals` what is to be made better,
`flight` trains the trials that are under way, `studies` keeps them, `drive` asks and tells, `report` shows the end.
"""
