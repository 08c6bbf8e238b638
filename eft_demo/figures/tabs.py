"""The plot tabs that were added, one file each (docs/extending.md), in the order of the page."""

from eft_demo.figures.tab import PlotTab

TABS: tuple[PlotTab, ...] = ()
