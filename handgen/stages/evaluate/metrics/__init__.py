"""Figures over matched hands: one module per metric."""
