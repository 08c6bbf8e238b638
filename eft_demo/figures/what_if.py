"""The tab of what every slider value would choose. The page draws it: it needs only what a run records."""

from eft_demo.figures.tab import PlotTab

WHAT_IF = PlotTab(
    name="strip",
    label="what-if",
    title="What other slider values would choose",
    hint=(
        "What {column} would choose at every value of the slider, with the same noise and the same text "
        "before. A cell names the token where it changes. Shaded cells are uncertain, because too much "
        "probability lies on tokens that were not recorded: an empty one probably keeps its token, one with "
        "“?” probably does not. Press a cell to select that token and move the slider there."
    ),
    figure=None,
)
