"""EFT Demo: watch a large language model behave as if it had been fine-tuned, and see for every token why.

Emulated fine-tuning (Mitchell et al., 2023, arXiv 2310.12962) samples each token from

    log p~(y) = log p_large_base(y) + alpha * [ log p_small_tuned(y) - log p_small_base(y) ] - log Z

Importing this package runs nothing. `load`, which opens a family for your own code, and `EmulatedFineTuning`,
a logits processor for transformers, are imported on first use. The rooms, each importing only from those
before it:

    errors, settings    errors shown to users; every limit and switch
    host/               the process and its machine: memory limits, environment, terminal
    method/             recipes, mixing, sampling, schedule, weight filter: log-probs in, token ids out
    classroom/          rooms in which a class votes: codes, polls, votes
    runs/               a run as data: events, trace, replay of a file, link, export
    families/           which checkpoints belong together; tokenizer; prompt format
    figures/            a trace as plotly figures
    models/             token ids in, logits out
    engine/             sequences and steps: many recipes on few models
    atlas/              the bundled family: facts, corpus, training, quiz
    lessons/            lessons: files that lead through the page
    lab/                benchmarks and evaluations
    ui/                 the page and its server
    publish/            repositories for Hugging Face Spaces
    api                 the same from Python
    mcp_server          the same as tools for assistants
    cli                 the same from the command line
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eft_demo.api import load as load
    from eft_demo.models.logits_processor import EmulatedFineTuning as EmulatedFineTuning

__all__ = ["EmulatedFineTuning", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import the public API on first use, because it imports torch."""
    if name == "EmulatedFineTuning":
        from eft_demo.models.logits_processor import EmulatedFineTuning  # noqa: PLC0415

        return EmulatedFineTuning
    if name == "load":
        from eft_demo.api import load  # noqa: PLC0415

        return load
    raise AttributeError(f"module 'eft_demo' has no attribute {name!r}")
