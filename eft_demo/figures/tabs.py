"""The plot tabs, one file each (docs/extending.md), in the order of the page.

The attribution is not among them: that plot grows with every token while a run streams, so the page has it
from the start and draws it from numbers that arrive with the tokens.
"""

from eft_demo.figures.log_odds import LOG_ODDS
from eft_demo.figures.tab import PlotTab
from eft_demo.figures.what_if import WHAT_IF

TABS: tuple[PlotTab, ...] = (
    LOG_ODDS,
    WHAT_IF,
)
