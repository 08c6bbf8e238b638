"""EFT Demo: watch a large language model behave as if it had been fine-tuned, and see for every token why.

Emulated fine-tuning (Mitchell et al., 2023, arXiv 2310.12962) samples each token from

    log p~(y) = log p_large_base(y) + alpha * [ log p_small_tuned(y) - log p_small_base(y) ] - log Z

Nothing happens when this package is imported; `EmulatedFineTuning`, for people's own code, is fetched when it
is asked for. The rooms, each importing only from those before it:

    errors, settings    sentences people see; every limit and switch
    recipe              which models are mixed, as a value and as text
    mixing, sampling    log-probs in, mixed log-probs and token ids out
    made_with           what decided a run's numbers beside the question
    trace               what a run leaves behind, as JSON
    whatif              what another alpha would have chosen
    families/           which checkpoints belong together; tokenizer; prompt format
    models/             token ids in, logits out
    engine/             rows, ticks, events
    atlas/              the bundled family: facts, corpus, training, quiz
    lab/                benchmarks and evaluations
    plots               a trace as figures
    spreadsheet         text as a cell that stays text
    export, opened      a run as CSV, Markdown or one HTML file; a run that came as a file
    address             names and values out of an address that others have edited
    permalink           what to run, as a link
    plots_compare       several panels or alphas as figures
    ui/                 the page
    cli                 the command line
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eft_demo.models.processor import EmulatedFineTuning as EmulatedFineTuning

__all__ = ["EmulatedFineTuning", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """The one name for other people's code; it brings transformers, so it comes when it is asked for."""
    if name == "EmulatedFineTuning":
        from eft_demo.models.processor import EmulatedFineTuning  # noqa: PLC0415

        return EmulatedFineTuning
    raise AttributeError(f"module 'eft_demo' has no attribute {name!r}")
