"""The tab of what every slider value would choose. The page draws it from what the server has scored."""

from eft_demo.figures.tab import PlotTab

WHAT_IF = PlotTab(
    name="strip",
    label="what-if",
    title="What other slider values would choose",
    hint=(
        "What {column} would choose at every slider value, with the same noise. The text before stays the "
        "same. A cell names the token where it changes. In rows that no model has scored, shaded cells are "
        "uncertain: an empty one probably keeps its token, one with “?” probably does not. Press a cell to "
        "select that token and move the slider there."
    ),
    figure=None,
)
