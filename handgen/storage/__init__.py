"""Files and stores, locks, journals, tars, JSON and pickles; nothing here knows of hands."""
