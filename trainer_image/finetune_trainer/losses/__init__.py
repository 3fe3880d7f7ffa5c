"""Losses: formulas of the methods, from tensors to tensors.

Law: pure torch; knows no model, no batch's layout beyond its arguments, no configuration. Each formula names its
paper.
"""
