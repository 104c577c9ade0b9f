"""Hand masks as a term of the fit."""
