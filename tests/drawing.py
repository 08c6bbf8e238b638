"""Sampling settings and weight filters, as hypothesis draws them for tests of whole distributions."""

from hypothesis import strategies as st

from eft_demo.method.sampling import Sampling
from eft_demo.method.weight_filter import OFF, WeightFilter

FILTERS = st.sampled_from([OFF, WeightFilter("mask", 0.1), WeightFilter("top_p", 0.9)])


def samplings(*top_ks: int) -> st.SearchStrategy[Sampling]:
    """Settings of every kind, with one of these top-k."""
    return st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 0.5, 1.0, 1.7]),
        top_p=st.sampled_from([0.3, 0.9, 1.0]),
        top_k=st.sampled_from(top_ks),
        min_p=st.sampled_from([0.0, 0.2]),
        seed=st.integers(0, 2**32 - 1),
    )
