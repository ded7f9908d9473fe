"""Figures and tables of the works: computed here, and drawn.

A family is a folder with ``compute.py`` (numbers, and the claims of a work that they decide) and
``draw.py``. ``family.py`` finds one by the name that a target's entry gives; families for which a
target has a notebook of its own are imported there.
"""
